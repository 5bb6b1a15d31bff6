"""`zatlas demo`: synthetic brain sections with known factors, to a complete study in a few minutes."""

from collections.abc import Sequence
from pathlib import Path

from zatlas import files
from zatlas.config import AtlasConfig, DataConfig, ModelConfig, SplitConfig, StudyConfig, TilesConfig, TrainConfig
from zatlas.images import phantom
from zatlas.progress import Talk
from zatlas.studies.run import study
from zatlas.studies.study import Study

__all__ = ["demo", "demo_config"]


def demo_config(images: Path) -> StudyConfig:
    """The settings of the demo: the brain project in small (B20 held out, by_pixel, beta-VAE)."""
    return StudyConfig(
        title="Synthetic brain sections",
        data=DataConfig(input=str(images)),
        split=SplitConfig(test_group=("B20",)),
        tiles=TilesConfig(tile=64, sampler="by_pixel"),
        model=ModelConfig(latent_dim=(4, 16), widths=(16, 32, 64), decoder="upsample", likelihood="gaussian"),
        train=TrainConfig(epochs=25, batch_size=16, kl_warmup_epochs=4.0),
        atlas=AtlasConfig(atlas_size=1500),
    )


def demo(out: str | Path = "zatlas-demo", *, command: Sequence[str] = (), talk: Talk | None = None) -> Study:
    """Make the images and run the study, or go on with it.

    Args:
        out: Folder for the images (`cell_data.h5`) and the study.
        command: The command line, for the manifest.
        talk: Where progress goes.
    """
    folder = files.make_folder(Path(out))
    images = folder / "cell_data.h5"
    talk = talk or Talk()
    if not images.is_file():
        talk.say("drawing synthetic sections of five brains")
        phantom.sections(images)
    return study(demo_config(images), folder / "study", command=command, talk=talk)
