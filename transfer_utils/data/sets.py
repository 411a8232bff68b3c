"""Labelled photos in memory: checked when they come in."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import interpolate

from transfer_utils.data.labelled import LabelledSet, checked_names
from transfer_utils.machine import check_labels, check_photos, check_size


@dataclass(frozen=True, eq=False)
class ImageSet(LabelledSet):
    """Labelled photos in memory.

    images: uint8 (N, 3, H, W), 0 to 255. labels: int64 (N,), an index into classes. classes: names, no two the same.
    TypeError or ValueError for anything else, with the way to get there.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    one: ClassVar[str] = "photo"
    many: ClassVar[str] = "photos"

    def __post_init__(self) -> None:
        """Refuse what would train into nonsense later."""
        check_photos("ImageSet()", self.images)
        self.__dict__["classes"] = checked_names("ImageSet()", self.classes)  # a list is welcome, and kept as a tuple
        check_labels("ImageSet()", self.labels, len(self.images), len(self.classes))
        if len(self) > 1 and self.images.max() == 1:
            raise ValueError(
                f"ImageSet() got {len(self)} photos whose brightest pixel is 1 of 255. They look as if they had been "
                "scaled to 0 to 1 before they became bytes. Scale them back first: (images * 255).round().byte()."
            )

    def __repr__(self) -> str:
        _, channels, height, width = self.images.shape
        names = ", ".join(self.classes)
        return f"{len(self):,} photos of {height}x{width} pixels, {len(self.classes)} classes: {names}"

    def _items_at(self, index: Any) -> dict[str, Any]:
        return {"images": self.images[index]}

    def resized(self, size: int) -> "ImageSet":
        """The same photos at size x size pixels, see resize."""
        return self._part(images=resize(self.images, size))


def resize(photos: Tensor, size: int) -> Tensor:
    """uint8 photos (N, 3, H, W) as uint8 (N, 3, size, size), bicubic and anti-aliased.

    TypeError or ValueError for what are no such photos; ValueError for a size that is no whole number of at least 1.
    """
    check_photos("resize()", photos)
    check_size("resize()", size)
    if photos.shape[-2:] == (size, size):
        return photos
    resized = interpolate(photos.float(), (size, size), mode="bicubic", antialias=True)
    return resized.round().clamp(0, 255).byte()
