# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Record how other libraries read the synthetic heads, for the tests: ``python record_reference.py LIBRARY``.

Run it where that library is installed; none is a dependency of this package. Writes ``LIBRARY.npz`` beside itself. LIBRARY is a
function of this file. Of yolov5, yolox, rfdetr, rapidocr, tf-models-research-object-detection only their own files are needed
(``pip install --no-deps``), of MMPose ``mmpose/codecs/utils/post_processing.py``.
"""

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

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


def _module(package, file):
    """Return one module of a package by its file, without what the package itself imports."""
    import importlib.util

    root = Path(importlib.util.find_spec(package).submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location(Path(file).stem, root / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def yolov5():
    """Record its suppression, its scaling and its masks."""
    general, segment = import_module('yolov5.utils.general'), import_module('yolov5.utils.segment.general')

    def found(values, masks=0):
        return general.non_max_suppression(torch.from_numpy(values.copy()), 0.25, 0.45, max_det=100, nm=masks)[0]

    rows = found(heads.objectness())
    rows[:, :4] = general.scale_boxes((heads.SIZE, heads.SIZE), rows[:, :4], IMAGE)
    values, prototypes = heads.yolov5_segment()
    boxes = found(values, heads.PROTOTYPES)
    masks = segment.process_mask_upsample(torch.from_numpy(prototypes[0]), boxes[:, 6:], boxes[:, :4], (heads.SIZE, heads.SIZE))
    kept = masks.amax((-2, -1)) > 0
    return {'detect': rows, 'segment': boxes[kept, :6], 'masks': np.packbits(masks[kept].bool().numpy())}


def yolox():
    """Record its decoding off the grid and its suppression, within classes and across them."""
    decoded = _module('yolox', 'utils/demo_utils.py').demo_postprocess(heads.on_grid().copy(), (heads.SIZE, heads.SIZE))
    answers = {}
    for name, agnostic in (('detect', False), ('agnostic', True)):
        given = torch.from_numpy(decoded.copy())
        (rows,) = _module('yolox', 'utils/boxes.py').postprocess(given, heads.CLASSES, 0.25, 0.45, class_agnostic=agnostic)
        rows = np.concatenate([rows[:, :4], rows[:, 4:5] * rows[:, 5:6], rows[:, 6:]], axis=1)
        answers[name] = rows[np.argsort(-rows[:, 4], kind='stable')]
    return answers


def rfdetr():
    """Record its decoding of exported files: of a fine-tuned model, and of one with COCO's own numbers."""
    decode = import_module('rfdetr.export._runtime.decode').decode_detections
    answers = {}
    for name, background in (('tuned', -1), ('coco', None)):
        given = heads.queries() if name == 'tuned' else heads.coco_queries()
        one = decode(given['pred_boxes'][0], given['logits'][0], heads.IMAGE, 0.4, num_select=len(given['logits'][0]),
                     background_class_id=background)
        answers[name] = np.concatenate([one.xyxy, one.confidence[:, None], one.class_id[:, None]], axis=1)
    return answers


def torchvision():
    """Record SSD's choice among its priors."""
    from torchvision.models.detection import ssd300_vgg16

    corners, logits = (torch.from_numpy(values) for values in heads.priors())
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=heads.CLASSES, score_thresh=0.25, nms_thresh=0.45,
                         topk_candidates=10_000, detections_per_img=100)
    outputs = {'bbox_regression': torch.zeros_like(corners), 'cls_logits': logits}
    anchors = [corners[0] * heads.SIZE]
    (found,) = model.postprocess_detections(outputs, anchors, [(heads.SIZE, heads.SIZE)])
    return {'ssd': np.concatenate([found['boxes'], found['scores'][:, None], found['labels'][:, None]], axis=1)}


def tensorflow():
    """Record what the Object Detection API's own drawing takes boxes and classes to be; TensorFlow itself is not needed for that."""
    stand_ins = {name: mock.MagicMock() for name in (
        'tensorflow', 'tensorflow.compat', 'tensorflow.compat.v1', 'object_detection.core.keypoint_ops', 'object_detection.utils.shape_utils',
        'object_detection.core.standard_fields')}
    with mock.patch.dict(sys.modules, stand_ins):
        drawing = import_module('object_detection.utils.visualization_utils')
    given, rows = {name: values[0] for name, values in heads.google().items()}, []

    def draw(image, top, left, bottom, right, *, display_str_list, use_normalized_coordinates, **_):
        height, width = image.shape[:2] if use_normalized_coordinates else (1, 1)
        name, score = display_str_list[0].split(': ')
        rows.append([left * width, top * height, right * width, bottom * height, int(score[:-1]) / 100, int(name)])

    names = {number: {'name': str(number - 1)} for number in range(1, heads.CLASSES + 1)}  # a line of labels each
    with mock.patch.object(drawing, 'draw_bounding_box_on_image_array', draw):
        drawing.visualize_boxes_and_labels_on_image_array(
            np.zeros((*IMAGE, 3), np.uint8), given['detection_boxes'], given['detection_classes'].astype(int), given['detection_scores'],
            names, use_normalized_coordinates=True, min_score_thresh=0.25)
    return {'boxes': np.array(rows)}


def mmpose():
    """Record SimCC's places and scores; the folder with post_processing.py has to be on the path."""
    places, values = import_module('post_processing').get_simcc_maximum(*(axis.copy() for axis in heads.simcc()))
    return {'points': places[0] / 2, 'scores': values[0]}


def rapidocr():
    """Record PaddleOCR's greedy text as RapidOCR reads it: a blank in front, a space behind."""
    shares = np.exp(heads.spaced_steps())
    shares /= shares.sum(axis=2, keepdims=True)
    decode = import_module('rapidocr.ch_ppocr_rec.utils').CTCLabelDecode
    ((text, score),), _ = decode(character=list(heads.CHARACTERS[:-1]))(shares)
    return {'text': np.array(text), 'score': score}


def _with_suppression():
    """Where torchvision's compiled suppression cannot be loaded (a build for CUDA), let ultralytics' stand in for it."""
    import torchvision

    if not torchvision.extension._has_ops():
        from ultralytics.utils.nms import TorchNMS

        torchvision.ops.nms = torchvision.ops.boxes.nms = TorchNMS.nms


LIBRARIES = (ultralytics, transformers, yolov5, yolox, rfdetr, torchvision, tensorflow, mmpose, rapidocr)

if __name__ == '__main__':
    _with_suppression()
    read = next(library for library in LIBRARIES if library.__name__ == sys.argv[1])
    made = {name: np.asarray(values) for name, values in read().items()}
    np.savez_compressed(Path(__file__).with_name(f'{sys.argv[1]}.npz'), **made)
    print({name: values.shape for name, values in made.items()})
