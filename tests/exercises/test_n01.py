"""The exercises of notebook 01 tell right answers from wrong ones."""

import pytest
from answers import Case, proofs

STANDARDIZE = "import torch\ndef standardize(train, validation):\n    "
SHIFT = "import torch\ndef shift(images, down, right):\n    "
PAD = "return torch.nn.functional.pad(images, [{}])"
PREPARE = "import torch\ndef prepare(images, labels, held_out, turn):\n    "
CUT = (
    "order = torch.randperm(len(images))\n"
    "    v, t = order[:held_out], order[held_out:]\n"
    "    more = torch.cat([images[t], turn(images[t])])\n"
    "    twice = labels[t].repeat(2)\n"
    "    "
)

CASES = {
    "an_augmentation": Case(
        other=[
            SHIFT + "moved = torch.zeros_like(images)\n"
            "    moved[:, :, max(down, 0):28 + min(down, 0), "
            "max(right, 0):28 + min(right, 0)] = (\n"
            "        images[:, :, max(-down, 0):28 - max(down, 0), "
            "max(-right, 0):28 - max(right, 0)])\n"
            "    return moved",
            SHIFT + "wide = torch.nn.functional.pad(images.float(), [8, 8, 8, 8])\n"
            "    return wide[:, :, 8 - down:36 - down, 8 - right:36 - right]",
            "import numpy as np\n" + SHIFT + "found = np.zeros(images.shape, np.uint8)\n"
            "    rows = np.arange(28) - down\n    columns = np.arange(28) - right\n"
            "    there = np.ix_((rows >= 0) & (rows < 28), (columns >= 0) & (columns < 28))\n"
            "    rows, columns = (x[(x >= 0) & (x < 28)] for x in (rows, columns))\n"
            "    for one, old in zip(found, images.numpy()):\n"
            "        one[0][there] = old[0][np.ix_(rows, columns)]\n"
            "    return found",
        ],
        wrong={
            SHIFT + "return images.roll((down, right), (2, 3))": "comes in on the other",
            SHIFT + PAD.format("down, -down, right, -right"): "rows and columns have changed",
            SHIFT + PAD.format("-right, right, -down, down"): "shifted the other way",
            SHIFT + PAD.format("right, -right, -down, down"): "up and down have changed",
            SHIFT + PAD.format("-right, right, down, -down"): "left and right have changed",
            SHIFT + PAD.format("0, 0, down, -down"): "not shifted to the right",
            SHIFT + PAD.format("right, -right, 0, 0"): "not shifted down",
            SHIFT + "return images": "nothing is shifted",
            SHIFT + PAD.format("right, -right, down, -down], value=255, mode='constant'")
            .replace("'])", "')"): "what comes in is white",
            SHIFT + PAD.format("right, 0, down, 0")
            .replace("return", "down, right = abs(down), abs(right)\n    return"):
            "a tensor of the shape [3, 1, 28, 28] is expected",
            SHIFT + "down, right = abs(down), abs(right)\n    "
            + PAD.format("right, -right, down, -down"): "",
            SHIFT + "images[:, :, :4] = 0\n    return images": "`images` is changed by it",
            SHIFT + "return images.float() / 255": "shift(images,",
            SHIFT + "return images[:, 0]": "a tensor of the shape [3, 1, 28, 28] is expected",
            SHIFT + "pass": "None (is there a `return`?)",
            "shift = 3": "`shift` is of type int; a function is expected",
        },
    ),
    "one_ruler": Case(
        other=[
            STANDARDIZE + "a, b = train / 255, validation / 255\n"
            "    m, s = a.mean(), a.std(correction=0)\n"
            "    return [(a - m) / s, (b - m) / s]",
            "from mnist_lab import normalize\n" + STANDARDIZE + "p = train.double() / 255\n"
            "    m, s = p.mean().item(), p.std().item()\n"
            "    return normalize(train, m, s), normalize(validation, m, s)",
            STANDARDIZE + "n = train.flatten().bincount(minlength=256).double()\n"
            "    n, v = n / n.sum(), torch.arange(256)\n"
            "    m = (n * v).sum()\n"
            "    s = (n * (v - m) ** 2).sum().sqrt()\n"
            "    return tuple(((x - m) / s).float() for x in (train, validation))",
        ],
        wrong={
            STANDARDIZE + "f = lambda x: (x.float() - x.float().mean()) / x.float().std()\n"
            "    return f(train), f(validation)": "a ruler of their own",
            STANDARDIZE + "x = torch.cat([train, validation]).float()\n"
            "    x = (x - x.mean()) / x.std()\n"
            "    return x[:len(train)], x[len(train):]": "that is a leak",
            STANDARDIZE + "m, s = train.float().mean(), train.float().std()\n"
            "    return (validation - m) / s, (train - m) / s": "changed places",
            STANDARDIZE + "m = train.float().mean()\n"
            "    return train - m, validation - m": "nothing is divided by the deviation",
            STANDARDIZE + "x = train.float()\n"
            "    return (x - x.mean()) / x.var(), (validation - x.mean()) / x.var()": "variance",
            STANDARDIZE + "x = train.float()\n"
            "    return (x - x.mean()) / x.std()": "[24, 1, 28, 28]; 2 values are expected",
            STANDARDIZE + "x = train.float()\n    m, s = x.mean(), x.std()\n"
            "    return ((x - m) / s).numpy(), ((validation - m) / s).numpy()": "as a type",
            STANDARDIZE + "x = train.double()\n"
            "    return (x - x.mean()) / x.std(), (validation - x.mean()) / x.std()": "as a type",
            STANDARDIZE + "m, s = train.float().mean(0), train.float().std(0) + 1e-6\n"
            "    return (train - m) / s, (validation - m) / s": "value 1 of standardize(train,",
            STANDARDIZE + "return train / 255, validation / 255": "the right shape, but other",
            STANDARDIZE + "return (train - 0.1307) / 0.3081, (validation - 0.1307) / 0.3081":
            "the right shape, but other values than expected",
            STANDARDIZE + "x = train.float()\n    m, s = x.mean(), x.std()\n"
            "    return (x - m) / s, (validation.squeeze() - m) / s": "[10, 28, 28]",
            STANDARDIZE + "x, y = train.float(), validation.float()\n    m, s = x.mean(), x.std()\n"
            "    train.zero_()\n    return (x - m) / s, (y - m) / s": "`train` is changed by it",
            STANDARDIZE + "x, y = train.float(), validation.float()\n    m, s = x.mean(), x.std()\n"
            "    validation.zero_()\n    return (x - m) / s, (y - m) / s": "`validation` is",
            STANDARDIZE + "return train.mean(), train.std()": "ends in NotImplementedError",
            STANDARDIZE + "return train.numpy() / 255, validation.numpy()": "the right shape, but",
        },
    ),
    "find_the_leak": Case(
        other=[
            PREPARE + CUT + "mixed = torch.randperm(len(more))\n"
            "    return more[mixed], twice[mixed], images[v], labels[v]",
            "import numpy as np\n" + PREPARE + "order = np.random.permutation(len(images))\n"
            "    v, t = order[:held_out], order[held_out:]\n"
            "    turned = torch.stack([turn(image) for image in images[t]])\n"
            "    return [torch.cat([images[t], turned]), torch.cat([labels[t]] * 2), "
            "images[v], labels[v]]",
            PREPARE + "turned = turn(images)\n    order = torch.randperm(len(images))\n"
            "    v, t = order[-held_out:], order[:-held_out]\n"
            "    return (torch.stack([images[t], turned[t]], 1).flatten(0, 1), "
            "labels[t].repeat_interleave(2), images[v], labels[v])",
        ],
        wrong={
            PREPARE + "order = torch.randperm(2 * len(images))\n"
            "    images, labels = torch.cat([images, turn(images)]), labels.repeat(2)\n"
            "    v, t = order[:held_out], order[held_out:]\n"
            "    return images[t], labels[t], images[v], labels[v]": "are in both parts",
            PREPARE + CUT + "return more, twice, turn(images[v]), labels[v]": "turned digits in",
            PREPARE + CUT + "return images[t], labels[t], images[v], labels[v]": "no turned copy",
            PREPARE + CUT + "return turn(images[t]), labels[t], images[v], labels[v]": "only turn",
            PREPARE + CUT + "return more, labels[t], images[v], labels[v]": "80 training images",
            PREPARE + CUT + "return more, labels[t].repeat_interleave(2), images[v], labels[v]":
            "in the training part, images and labels do not belong together",
            PREPARE + CUT + "return more, twice, images[v], labels[:held_out]":
            "in the validation part, images and labels do not",
            PREPARE + CUT + "return more, twice, images[v[1:]], labels[v[1:]]": "19 digits are",
            PREPARE + CUT + "return more[:-1], twice[:-1], images[v], labels[v]": "40 and 39, or",
            PREPARE + CUT + "m = torch.cat([images[t[:-1]], images[t[:1]], turn(images[t])])\n"
            "    l = torch.cat([labels[t[:-1]], labels[t[:1]], labels[t]])\n"
            "    return m, l, images[v], labels[v]": "40 and 40, or some of them twice",
            PREPARE + CUT.replace("torch.randperm", "torch.arange")
            + "return more, twice, images[v], labels[v]": "the last digits are held out",
            PREPARE + CUT.replace("torch.randperm(len(images))", "range(len(images) - 1, -1, -1)")
            + "return more, twice, images[v], labels[v]": "the last digits are held out",
            PREPARE + CUT + "return more.flatten(1), twice, images[v], labels[v]": "[80, 784]",
            PREPARE + CUT + "return more, twice": "returns four tensors",
            PREPARE + CUT + "images += 1\n    return more, twice, images[v], labels[v]":
            "`images` is changed by it",
            PREPARE + CUT + "labels += 1\n    return more, twice, images[v], labels[v] - 1":
            "`labels` is changed by it",
            PREPARE + CUT + "return more.tolist(), twice, images[v], labels[v]":
            "what it returns as training images is a list",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("01", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()
