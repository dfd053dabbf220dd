"""From videos to an exported network in Python, like `tdpn prep`, `train`, `eval`, `predict` and `export`.

Run it as `python docs/walkthrough.py [FOLDER]`: it renders its own clips and takes about a minute.
"""

import sys
from pathlib import Path

import tdpn_core as tdpn
from tdpn_core.demo.render import render_dataset


def main(folder: Path, *, clips: int = 4, epochs: int = 2, export_format: str = "onnx") -> tdpn.ExportReport:
    """Run all steps from videos to an exported file in `folder`."""
    videos, data, run = folder / "videos", folder / "data", folder / "run"

    # Videos in a folder of each class, within a folder of each split: videos/train/<class>/*.mp4
    render_dataset(videos, train_per_class=clips, val_per_class=2, seed=0)

    # Decode every video once and pack its frames into HDF5 shards.
    prepared = tdpn.prepare("folder", videos, data, settings=tdpn.PrepConfig(encoding=tdpn.Encoding(short_side=40)))
    print(prepared.clips)  # clips of each split

    # Read one clip: (frames, height, width, 3), uint8.
    store = tdpn.ClipStore(data, "train")
    print(len(store), store.ids[0], store.labels)

    # Train a small network: half-width R18, 4 frames of 32 pixels.
    overrides = tdpn.TrainOverrides(
        frames=4, size=32, epochs=epochs, batch_size=8, seed=0, settings={"model.width": "0.25"}
    )
    trained = tdpn.train(data=data, out=run, recipe="small", overrides=overrides, gpus=0, workers=0)
    print(trained.best, trained.state.history[-1])

    # Score the best checkpoint on the validation split, with a report.
    evaluation = tdpn.evaluate(trained.best, options=tdpn.ScoreOptions(workers=0), gpus=0)
    metrics = evaluation.heads["action"]
    print(f"top-1 {metrics.top[1]:.1%} of {metrics.clips} clips; {evaluation.report}")

    # Predict the action in a video.
    video = next(iter(sorted((videos / "val").rglob("*.mp4"))))
    for prediction in tdpn.predict(video, checkpoint=trained.best, gpus=0):
        print(prediction.name, prediction.heads["action"][:3])

    # Use the network itself: clips of (N, 3, frames, height, width) in, logits of each head out.
    network = tdpn.load_model(trained.best)
    print(sum(value.numel() for value in network.parameters()), "parameters")

    # Export it to one file for other programs; the file is compared with the network on real clips.
    options = tdpn.ExportOptions(format="pt2" if export_format == "pt2" else "onnx", compared=2)
    exported = tdpn.export(trained.best, folder / f"network.{export_format}", options=options)
    print(exported.path, f"largest difference {exported.check.difference:.1e}")
    return exported


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tdpn-walkthrough"))
