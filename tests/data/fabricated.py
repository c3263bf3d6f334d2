"""Small archives and folders in the layouts of the original sets."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image


def picture(number, mode="RGB", size=(20, 20), file_format="jpeg", **arguments):
    """The bytes of a picture of noise."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels)
    noise = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise[..., 0] if channels == 1 else noise, mode).save(
        stream, file_format, **arguments
    )
    return stream.getvalue()


def decoded(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, contents in files.items():
            contents = contents.encode() if isinstance(contents, str) else contents
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))


class Fabricated:
    """A set: its archives' contents, which a test may change, and what should come of them."""

    def __init__(self, name, classes, sizes, archives, expected, picture_archive):
        self.name, self.classes, self.sizes = name, classes, sizes
        self.archives = archives
        # split -> {class name: the bytes of its pictures}
        self.expected = expected
        self.pictures = archives[picture_archive]
        self.picture_archive = picture_archive

    def write(self, folder):
        folder.mkdir(exist_ok=True)
        for name, contents in self.archives.items():
            if name.endswith(".zip"):
                write_zip(folder / name, contents)
            elif name.endswith(".tar"):
                write_tar(folder / name, contents)
            else:
                (folder / name).write_text(contents)

    def first_training_picture(self):
        encoded = self.expected["train"][min(self.expected["train"])][0]
        return next(name for name, contents in self.pictures.items() if contents == encoded)


def tiny_imagenet():
    """Three classes of four training and two test pictures; one of each class is grey."""
    root, classes = "tiny-imagenet-200", ["n01", "n02", "n03"]
    files = {f"{root}/wnids.txt": "n03\nn01\nn02\n", f"{root}/test/images/test_0.JPEG": b"no label"}
    expected = {"train": {}, "test": {}}
    annotations = []
    for label, name in enumerate(classes):
        for number in range(4):
            encoded = picture(10 * label + number, "L" if number == 0 else "RGB")
            files[f"{root}/train/{name}/images/{name}_{number}.JPEG"] = encoded
            expected["train"].setdefault(name, []).append(encoded)
        files[f"{root}/train/{name}/{name}_boxes.txt"] = f"{name}_0.JPEG\t0\t0\t9\t9\n"
        for number in range(2):
            encoded = picture(100 + 10 * label + number, "L" if number == 0 else "RGB")
            files[f"{root}/val/images/val_{2 * label + number}.JPEG"] = encoded
            annotations.append(f"val_{2 * label + number}.JPEG\t{name}\t0\t32\t44\t62\n")
            expected["test"].setdefault(name, []).append(encoded)
    files[f"{root}/val/val_annotations.txt"] = "".join(annotations)
    return Fabricated(
        "tiny_imagenet",
        3,
        {"train": 12, "test": 6},
        {"tiny-imagenet-200.zip": files},
        expected,
        "tiny-imagenet-200.zip",
    )


def stanford40_actions():
    """Two actions of many sizes; one has more test pictures than the other."""
    images, lists = {}, {"ImageSplits/actions.txt": "action_name\tnumber_of_images\n"}
    expected = {"train": {}, "test": {}}
    for label, (name, tests) in enumerate((("waving_hands", 2), ("cooking", 3))):
        lists["ImageSplits/actions.txt"] += f"{name}\t{2 + tests}\n"
        for split, count in (("train", 2), ("test", tests)):
            for number in range(count):
                seed = 1000 + 100 * label + 10 * len(split) + number
                mode = "L" if number == 0 else "RGB"
                encoded = picture(seed, mode, (20 + seed % 7, 30 - number))
                file = f"{name}_{seed}.jpg"
                images[f"JPEGImages/{file}"] = encoded
                lists.setdefault(f"ImageSplits/{name}_{split}.txt", "")
                lists[f"ImageSplits/{name}_{split}.txt"] += f"{file}\n"
                expected[split].setdefault(name, []).append(encoded)
    return Fabricated(
        "stanford40_actions",
        2,
        {"train": 4, "test": 5},
        {"Stanford40_JPEGImages.zip": images, "Stanford40_ImageSplits.zip": lists},
        expected,
        "Stanford40_JPEGImages.zip",
    )


def mit_indoor67():
    """Two rooms; the archive holds more pictures than the lists name."""
    images, lists = {}, {"train": "", "test": ""}
    expected = {"train": {}, "test": {}}
    for label, name in enumerate(("attic", "bakery")):
        for split, count in (("train", 3), ("test", 2)):
            for number in range(count):
                seed = 2000 + 100 * label + 10 * len(split) + number
                mode = "L" if number == 0 else "RGB"
                encoded = picture(seed, mode, (24, 20 + seed % 5))
                images[f"Images/{name}/{seed}.jpg"] = encoded
                lists[split] += f"{name}/{seed}.jpg\r\n"
                expected[split].setdefault(name, []).append(encoded)
        images[f"Images/{name}/unused.jpg"] = b"in no list"
    return Fabricated(
        "mit_indoor67",
        2,
        {"train": 6, "test": 4},
        {
            "indoorCVPR_09.tar": images,
            "TrainImages.txt": lists["train"],
            "TestImages.txt": lists["test"],
        },
        expected,
        "indoorCVPR_09.tar",
    )


SETS = {"tiny_imagenet": tiny_imagenet, "stanford40_actions": stanford40_actions}
SETS["mit_indoor67"] = mit_indoor67
