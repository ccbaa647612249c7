"""Train a network on MNIST, or on your own images, as a YAML config says; report the test set once, at the end.

python train.py                                    configs/lenet.yaml into checkpoints/lenet
python train.py configs/tutorial.yaml --epochs 2   every setting is also a flag
python train.py configs/lenet.yaml --resume        continue an interrupted run
python train.py configs/lenet.yaml --seeds 0 1 2   one run per seed, with mean and standard deviation
python train.py configs/extended.yaml --fine-tune checkpoints/shipped/extended --extra inputs/mine     your handwriting
python train.py configs/photo_cnn.yaml --data-dir PHOTOS     photos, one folder per class; --preview draws some
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import time

from digits.cli import run
from digits.training.launch import launch
from digits.training.options import DEFAULT_CONFIG, parse

if __name__ == "__main__":
    run(lambda: launch(*parse(__doc__)))  # before Paddle is imported: --help, mistyped flags, and several processes

from digits.runtime import choose_device, tune_cpu

tune_cpu()  # before Paddle is imported: its libraries read these settings once

import paddle

from digits.config import load_config
from digits.data.image_files import input_batches
from digits.data.splits import load_dataset
from digits.evaluation.metrics import score
from digits.networks.checkpoint import load_checkpoint
from digits.networks.registry import predict_logits
from digits.training import parallel
from digits.training.batches import TrainingBatches, has_non_digits, steps_per_epoch
from digits.training.checkpointer import Checkpointer
from digits.training.history import HEADER, epoch_row, format_epoch, is_best, next_epoch, reason_to_stop
from digits.training.optim import make_average, make_loss, make_optimizer, make_schedule
from digits.training.plan import plan_runs
from digits.training.preview import draw_preview, print_summary
from digits.training.pseudo_labels import PseudoLabels
from digits.training.report import announce, report_run, report_seeds
from digits.training.run_folder import Run
from digits.training.stages import Stage, make_network, stages, starts_from_checkpoint


def train(stage: Stage) -> list[dict]:
    """Train a network, saving after every epoch its weights and the state to resume from.

    Args:
        stage: the network, the images (train to fit, val to measure every epoch), the settings, the folder.

    Returns:
        One row of metrics per epoch, see `history.epoch_row`. The train metrics are measured on augmented images while
        the network changes.

    Raises:
        RunError: the loss is not a finite number.
    """
    config, data, network, out = stage.config, stage.data, stage.network, stage.out
    loss_function = make_loss(config, data.class_counts, has_non_digits(config, data.classes))
    schedule = make_schedule(config, steps_per_epoch(config, data))
    optimizer = make_optimizer(config, schedule, network)
    average = make_average(config, network)  # of the weights over the steps: it is evaluated and saved
    pseudo_labels = PseudoLabels(config, data.unlabeled, data.classes)
    checkpointer = Checkpointer(out, config, data.classes, network, optimizer, average, pseudo_labels)
    history = checkpointer.restore() if stage.resume else checkpointer.begin(stage.history)
    batches = TrainingBatches(config, data, pseudo_labels)

    print(HEADER, *map(format_epoch, history), sep="\n", flush=True)
    for epoch in range(next_epoch(history), config.epochs + 1):
        if reason := reason_to_stop(history, config):
            print(f"stopped early: {reason}")
            break
        started = time.perf_counter()
        epoch_batches = batches.epoch(epoch)
        for images, labels in epoch_batches:  # float32 [N, C, H, W], int64 [N]
            logits = network(images)  # [N, num_classes]
            loss = loss_function(logits, labels)
            loss.backward()
            loss = parallel.average(network, loss, len(labels))  # over the processes, with the gradients
            optimizer.step()
            optimizer.clear_grad()
            schedule.step()
            average.update(network)
            epoch_batches.record(loss, logits)

        with average.applied(network):
            val_images, val_labels = data.val
            val = score(predict_logits(network, input_batches(val_images)), val_labels, config.loss)
            seconds = time.perf_counter() - started
            row = epoch_row(epoch, schedule.get_lr(), epoch_batches.metrics(), val, seconds)
            history.append(parallel.from_main(row))
            checkpointer.save_weights(history)
        if pseudo_labels.is_due(history):
            pseudo_labels.renew(network, load_checkpoint(out).weights)
        checkpointer.save_progress(history)
        print(format_epoch(history[-1]) + ("  best" if is_best(history, config.keep) else ""), flush=True)
    pseudo_labels.report(history, out)
    return history


def train_run(planned: Run) -> None:
    """Load the images, build the network, train it (transfer learning: in stages), and report."""
    with parallel.main_first():  # it may have to download
        data = load_dataset(planned.config, planned.limit)
    network = make_network(planned.config, data.classes, load=starts_from_checkpoint(planned))
    with planned.underway():  # claims its folder; Ctrl-C says how to resume
        announce(planned, network)
        for stage in stages(planned, data, network):
            with paddle.utils.unique_name.guard():  # the optimizer's state is saved under generated names
                history = train(stage)
        with parallel.main_first():
            if parallel.is_main():
                report_run(planned, data, history)


def main(argv: list[str] | None = None) -> None:
    args, overrides = parse(__doc__, argv)
    choose_device(args.device)
    if args.summary or args.preview:
        config = load_config(args.config or DEFAULT_CONFIG, overrides)
        (print_summary if args.summary else draw_preview)(config)
        return
    parallel.join()
    runs = plan_runs(args, overrides)  # one, or with --seeds one per seed
    parallel.wait_for_all()  # before the first writes what the others look for
    for planned in runs:
        if not (args.seeds and planned.has_report):
            train_run(planned)
    if args.dry_run:
        print("\ndry run: every part works, nothing was kept")
    elif args.seeds:
        report_seeds(runs)
    else:
        print(f"\n{runs[0].predict_command}")


if __name__ == "__main__":
    run(main)
