"""What does the gateway show before there is real data? Made-up companies that look like ones at work."""

from store.demo.files import WriteFile
from store.demo.plan import Size
from store.demo.seeding import AlreadySeeded, Progress, is_seeded, seed

__all__ = ["AlreadySeeded", "Progress", "Size", "WriteFile", "is_seeded", "seed"]
