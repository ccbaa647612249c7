"""Optimizers, schedules, averages of the weights."""

import numpy as np
import paddle
import pytest
from conftest import sets_of

from digits.config import Config
from digits.networks.registry import build_network
from digits.training import fitting
from digits.training.optim import WeightAverage, make_optimizer, make_schedule


def rates(schedule, steps=100):
    config = Config(schedule=schedule, learning_rate=0.5, epochs=10)
    scheduler = make_schedule(config, steps_per_epoch=steps // 10)
    seen = []
    for _ in range(steps):
        seen.append(scheduler.get_lr())
        scheduler.step()
    return np.array(seen)


def test_schedules():
    assert set(rates("constant")) == {0.5}
    cosine = rates("cosine")
    assert cosine[0] == 0.5
    assert (np.diff(cosine) <= 0).all()
    assert cosine[-1] < 0.001
    cycle = rates("one-cycle", 1000)
    assert cycle[0] == pytest.approx(0.05)
    assert cycle.argmax() == 250
    assert cycle.max() == pytest.approx(0.5, rel=1e-3)
    assert cycle[-1] < 0.002


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
def test_each_optimizer_learns(config, tmp_path, optimizer):
    rate = 0.02 if optimizer == "momentum" else 0.003
    learning = Config(
        data_dir=config.data_dir, optimizer=optimizer, learning_rate=rate, epochs=6, batch_size=20, seed=1
    )
    history = fitting.fit(learning, sets_of(learning), tmp_path)
    assert history[-1]["train_accuracy"] > 0.7


def test_the_weight_average_is_the_textbooks(config):
    model = build_network("lenet")
    optimizer = make_optimizer(config, 0.01, model)
    average = WeightAverage(model, decay=0.8)
    expected = model.fc2.weight.numpy().copy()
    for step in range(1, 40):
        model(paddle.rand([2, 1, 28, 28])).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
        average.update(model)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.fc2.weight.numpy()
    current = model.fc2.weight.numpy().copy()
    with average.applied(model):
        np.testing.assert_allclose(model.fc2.weight.numpy(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.fc2.weight.numpy(), current)


def test_the_mean_with_the_first_weights_is_what_is_applied():
    model = build_network("lenet")
    first = model.fc2.weight.numpy().copy()
    average = WeightAverage(model, decay=0, share=0.7)
    new = first + 1
    model.fc2.weight.set_value(new)
    average.update(model)
    with average.applied(model):
        np.testing.assert_allclose(model.fc2.weight.numpy(), first + 0.7, rtol=1e-5)
    np.testing.assert_array_equal(model.fc2.weight.numpy(), new)
