# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Record how another library reads the synthetic heads, for the tests: ``python record_reference.py ultralytics|transformers``.

Run it where that library is installed; ultralytics is no dependency of this package. Writes ``LIBRARY.npz`` beside itself.
"""

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import synthetic_heads as heads
import torch

IMAGE = (heads.IMAGE[1], heads.IMAGE[0])


def ultralytics():
    """Record its suppression, and how it brings boxes, keypoints and masks into the image."""
    from ultralytics.utils import ops
    from ultralytics.utils.nms import non_max_suppression

    square, answers = (heads.SIZE, heads.SIZE), {}

    def found(values, classes=heads.CLASSES, *, turned=False):
        limits = {'conf_thres': 0.25, 'iou_thres': 0.45, 'max_det': 100}
        rows = non_max_suppression(torch.from_numpy(values.copy()), nc=classes, rotated=turned, **limits)[0]
        inside = rows.clone()
        inside[:, :4] = ops.scale_boxes(square, rows[:, :4].clone(), IMAGE, xywh=turned)
        return rows, inside

    answers['detect'], answers['end_to_end'] = (found(values)[1] for values in (heads.detect(), heads.end_to_end()))
    answers['oriented'] = found(heads.oriented(), turned=True)[1]
    answers['pose'] = found(heads.pose(), 1)[1]
    points = answers['pose'][:, 6:].reshape(-1, heads.POINTS, 3)
    answers['pose'][:, 6:] = ops.scale_coords(square, points, IMAGE).reshape(len(points), -1)
    values, prototypes = heads.segment()
    rows, _ = found(values)
    masks = ops.process_mask(torch.from_numpy(prototypes[0]), rows[:, 6:], rows[:, :4], square, upsample=True)
    kept = masks.amax((-2, -1)) > 0
    answers['segment'], answers['masks'] = rows[kept, :6], np.packbits(masks[kept].bool().numpy())
    return answers


def transformers():
    """Record its object detection, semantic segmentation, heatmaps and greedy text."""
    from transformers import Wav2Vec2CTCTokenizer
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
    from transformers.models.vitpose.image_processing_pil_vitpose import get_keypoint_predictions

    given, answers = SimpleNamespace(**{name: torch.from_numpy(values) for name, values in heads.queries().items()}), {}
    for name, processor in (('detr', DetrImageProcessorPil), ('rt_detr', RTDetrImageProcessorPil)):
        one = processor().post_process_object_detection(given, threshold=0.4, target_sizes=[IMAGE])[0]
        answers[name] = np.concatenate([one['boxes'], one['scores'][:, None], one['labels'][:, None]], axis=1)
    planes = SimpleNamespace(logits=torch.from_numpy(heads.planes()))
    (mask,) = SegformerImageProcessorPil().post_process_semantic_segmentation(planes, target_sizes=[IMAGE])
    answers['mask'] = mask.numpy().astype(np.uint8)
    answers['depth'] = torch.nn.functional.interpolate(torch.from_numpy(heads.planes(1)), (60, 80), mode='bilinear')[0, 0]
    answers['points'], answers['point_scores'] = (values[0] for values in get_keypoint_predictions(heads.heatmaps()))
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = {text: index for index, text in enumerate(['<pad>', *heads.CHARACTERS, '<unk>', '<s>', '</s>', '|'])}
        (Path(folder) / 'vocab.json').write_text(json.dumps(vocabulary))
        tokenizer = Wav2Vec2CTCTokenizer(str(Path(folder) / 'vocab.json'))
        answers['text'] = np.array(tokenizer.decode(heads.steps()[0].argmax(axis=1)))
    return answers


if __name__ == '__main__':
    made = {name: np.asarray(values) for name, values in {'ultralytics': ultralytics, 'transformers': transformers}[sys.argv[1]]().items()}
    np.savez_compressed(Path(__file__).with_name(f'{sys.argv[1]}.npz'), **made)
    print({name: values.shape for name, values in made.items()})
