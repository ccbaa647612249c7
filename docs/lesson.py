"""LeNet on MNIST from scratch, with Paddle and NumPy alone: data, network, loop, accuracy. docs/lesson.md explains it.

python docs/lesson.py    eight epochs, four minutes on a slow core; writes lesson.pdparams
python predict.py examples/7_scan.png --checkpoint lesson.pdparams
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED = 8, 128, 0.006, 0


class LeNet(nn.Layer):
    """The tutorial's network: 41,806 parameters. [N, 1, 28, 28] in [0, 1] -> logits [N, 10]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(1, 6, kernel_size=5)
        self.conv2 = nn.Conv2D(6, 16, kernel_size=5)
        self.conv3 = nn.Conv2D(16, 120, kernel_size=4)
        self.fc1 = nn.Linear(120, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, images):
        x = self.conv1(images)  # [N, 6, 24, 24]
        x = F.sigmoid(F.sigmoid(F.max_pool2d(x, 2, 2)))  # [N, 6, 12, 12]; one before the pooling would be the same
        x = self.conv2(x)  # [N, 16, 8, 8]
        x = F.max_pool2d(x, 2, 2)  # [N, 16, 4, 4]
        x = self.conv3(x).flatten(1)  # [N, 120]
        x = F.sigmoid(self.fc1(x))  # [N, 64]
        return self.fc2(x)  # [N, 10]


def load(mode):
    """Load MNIST's "train" or "test" images, float32 [N, 1, 28, 28] in [0, 1], and labels, int64 [N]."""
    try:
        dataset = paddle.vision.datasets.MNIST(mode=mode)  # downloads it once
        images, labels = np.array(dataset.images), np.array(dataset.labels)
    except RuntimeError:  # Paddle's host does not answer: take the files that train.py has found elsewhere
        folder, name = f"{paddle.dataset.common.DATA_HOME}/mnist", {"train": "train", "test": "t10k"}[mode]
        try:
            images = np.fromfile(f"{folder}/{name}-images-idx3-ubyte", np.uint8)[16:]  # a header of 16 bytes
            labels = np.fromfile(f"{folder}/{name}-labels-idx1-ubyte", np.uint8)[8:]
        except FileNotFoundError:
            raise SystemExit("error: MNIST cannot be downloaded; run python train.py --dry-run once") from None
    return images.reshape(-1, 1, 28, 28).astype("float32") / 255, labels.reshape(-1).astype("int64")


def train(network, images, labels):
    """Fit the network to the images, one epoch after the other."""
    steps = -(-len(images) // BATCH_SIZE)
    schedule = paddle.optimizer.lr.OneCycleLR(LEARNING_RATE, total_steps=EPOCHS * steps + 1, end_learning_rate=0.0)
    optimizer = paddle.optimizer.AdamW(schedule, parameters=network.parameters(), weight_decay=0.05)
    rng = np.random.default_rng(SEED)
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for batch in np.array_split(rng.permutation(len(images)), steps):
            logits = network(paddle.to_tensor(images[batch]))  # forward
            loss = F.cross_entropy(logits, paddle.to_tensor(labels[batch]))
            loss.backward()  # the gradient of the loss with respect to every weight
            optimizer.step()  # a step against the gradient
            optimizer.clear_grad()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}", flush=True)


def accuracy(network, images, labels):
    """Return the share of the images whose largest logit is that of their label."""
    network.eval()
    with paddle.no_grad():
        logits = [network(paddle.to_tensor(images[start : start + 500])) for start in range(0, len(images), 500)]
    return float(np.mean(np.concatenate(logits).argmax(1) == labels))


def main():
    paddle.seed(SEED)
    network = LeNet()
    train(network, *load("train"))
    print(f"test accuracy {accuracy(network, *load('test')):.2%}")
    paddle.save(network.state_dict(), "lesson.pdparams")


if __name__ == "__main__":
    main()
