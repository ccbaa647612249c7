"""Optimizers, learning-rate schedules, weight averages."""

import numpy as np
import paddle
import pytest
from conftest import dataset_of, fit

from digits.config import FIELDS, Config
from digits.networks.registry import build_network
from digits.training.optim import WeightAverage, make_loss, make_optimizer, make_schedule


def rates(schedule, steps=100):
    config = Config(schedule=schedule, learning_rate=0.5, epochs=10)
    scheduler = make_schedule(config, steps_per_epoch=steps // 10)
    values = []
    for _ in range(steps):
        values.append(scheduler.get_lr())
        scheduler.step()
    return np.array(values)


def test_the_learning_rate_is_constant_or_falls_to_0_or_rises_first():
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


@pytest.mark.parametrize("optimizer", FIELDS["optimizer"].metadata["choices"])
def test_each_optimizer_learns(config, tmp_path, optimizer):
    rate = 0.02 if optimizer == "momentum" else 0.003
    learning = Config(
        data_dir=config.data_dir, optimizer=optimizer, learning_rate=rate, epochs=6, batch_size=20, seed=1
    )
    history = fit(learning, dataset_of(learning), tmp_path)
    assert history[-1]["train_accuracy"] > 0.7


def test_the_weight_average_is_an_exponential_moving_average_that_warms_up(config):
    network = build_network("lenet")
    optimizer = make_optimizer(config, 0.01, network)
    average = WeightAverage(network, decay=0.8)
    expected = network.fc2.weight.numpy().copy()
    for step in range(1, 40):
        network(paddle.rand([2, 1, 28, 28])).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
        average.update(network)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.fc2.weight.numpy()
    current = network.fc2.weight.numpy().copy()
    with average.applied(network):
        np.testing.assert_allclose(network.fc2.weight.numpy(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(network.fc2.weight.numpy(), current)


def test_a_share_below_1_interpolates_with_the_initial_weights():
    network = build_network("lenet")
    first = network.fc2.weight.numpy().copy()
    average = WeightAverage(network, decay=0, share=0.7)
    new = first + 1
    network.fc2.weight.set_value(new)
    average.update(network)
    with average.applied(network):
        np.testing.assert_allclose(network.fc2.weight.numpy(), first + 0.7, rtol=1e-5)
    np.testing.assert_array_equal(network.fc2.weight.numpy(), new)


def test_outliers_are_a_class_whose_logit_is_0():
    counts = np.ones(10)
    loss, plain = make_loss(Config(), counts, reject_class=True), make_loss(Config(), counts)
    logits = np.random.default_rng(0).normal(0, 2, (4, 10)).astype(np.float32)
    energy = np.log(np.exp(logits).sum(1))
    outliers = loss(paddle.to_tensor(logits), np.full(4, 10)).item()
    assert outliers == pytest.approx(np.log1p(np.exp(energy)).mean(), rel=1e-5)
    labels = np.array([3, 1, 4, 1])
    digits = loss(paddle.to_tensor(logits), labels).item()
    expected = (np.log1p(np.exp(energy)) - logits[range(4), labels]).mean()
    assert digits == pytest.approx(expected, rel=1e-5)
    assert plain(paddle.to_tensor(logits), labels).item() == pytest.approx(
        (energy - logits[range(4), labels]).mean(), rel=1e-5
    )
