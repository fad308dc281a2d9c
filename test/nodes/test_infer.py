# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A user's own node asks a running fleet, beside its camera: arrays in, results out, each call answered exactly once."""

import asyncio
import threading

import cv2
import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

LABELS = ['ant', 'bee', 'cat']
RANDOM = np.random.default_rng(11)


def array(height=90, width=120, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RANDOM.integers(0, 256, shape).astype(np.uint8)


class Asker:
    """A user's own node, spun by a thread."""

    def __init__(self, executor, name='asker'):
        import rclpy

        from edge_dnn_partition.client import InferenceClient

        self.node = rclpy.create_node(name)
        self.client = InferenceClient(self.node, fleet='trial')
        self.executor = executor
        executor.add_node(self.node)
        self._thread = threading.Thread(target=executor.spin, daemon=True)
        self._thread.start()

    def close(self):
        self.executor.shutdown()
        self._thread.join(5.0)
        self.client.close()
        self.node.destroy_node()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('infer')


@pytest.fixture(scope='module')
def trial(ros_domain, folder):
    from trial_fleet import trial_fleet

    (folder / 'labels.txt').write_text('\n'.join(LABELS))
    settings = {'postprocessing': {'kind': 'classification', 'labels': 'labels.txt', 'top': 2}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        with trial_fleet(folder, **settings) as running:
            yield running
            status = running.settle()
        numbers = [frame.frame_number for frame in running.news.frames]
        assert numbers == sorted(set(numbers)), 'a frame came twice or out of order'
        assert (status.lost, status.accepted) == (0, status.delivered + status.expired)
        assert sum(frame.stamp_ns in running.camera.shown for frame in running.news.frames) > 20, 'the camera went on'


@pytest.fixture(scope='module')
def asker(trial):
    from rclpy.executors import SingleThreadedExecutor

    asker = Asker(SingleThreadedExecutor())
    yield asker
    asker.close()


@pytest.fixture(scope='module')
def whole(trial, folder):
    """The whole model by onnxruntime alone, with the fleet's preprocessing."""
    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    engine, preprocessing = Engine(trial.fleet.model.path), Preprocessing.from_yaml(folder / 'preprocessing.yaml')
    return lambda data, encoding='rgb8': engine.run({trial.model.inputs[0]: preprocessing.apply(data, encoding)})


def check(result, expected):
    assert set(result.outputs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(result.outputs[name], value, rtol=1e-4, atol=1e-4)


def published(trial, frame_number):
    """What was on the result topic under a frame's number."""
    trial.client.wait_for(lambda: any(f.frame_number == frame_number for f in trial.news.frames), 20.0, f'result {frame_number}')
    return [frame for frame in trial.news.frames if frame.frame_number == frame_number]


def test_an_array_gets_the_whole_models_result(trial, asker, whole):
    image = array()
    result = asker.client.infer_and_wait(image)
    expected = whole(image)
    check(result, expected)
    (frame,) = published(trial, result.frame_number)
    assert frame.delivered and (frame.plan_version, frame.latency_seconds) == (result.plan_version, result.latency_seconds)
    for name, value in result.outputs.items():
        np.testing.assert_array_equal(frame.outputs[name], value)
    scores = next(iter(expected.values())).reshape(-1)
    assert [one.index for one in result.classes] == list(np.argsort(-scores)[:2])
    assert result.classes[0].score > result.classes[1].score > 0
    assert all(one.label == (LABELS[one.index] if one.index < 3 else f'class {one.index}') for one in result.classes)
    assert result.detections == () and result.mask is None
    assert result.message.startswith(f'frame {result.frame_number}, ') and 0 < result.latency_seconds < 60


def test_other_images(trial, asker, whole):
    from std_msgs.msg import Header

    from edge_dnn_partition.nodes.conversions.camera_messages import compressed_message, image_message

    image, grey = array(), array(channels=1)
    jpeg = cv2.imencode('.jpg', image)[1].reshape(-1)
    check(asker.client.infer_and_wait(image, encoding='bgr8'), whole(image, 'bgr8'))
    check(asker.client.infer_and_wait(grey), whole(grey, 'mono8'))
    check(asker.client.infer_and_wait(image[:, ::2]), whole(image[:, ::2].copy()))  # not contiguous
    check(asker.client.infer_and_wait(jpeg.tobytes()), whole(jpeg, 'jpeg'))
    header = Header(frame_id='gripper')
    header.stamp.sec = 7
    for message, data, encoding in (
        (image_message(image, 'rgb8', header), image, 'rgb8'),
        (compressed_message(jpeg, 'jpeg', header), jpeg, 'jpeg'),
    ):
        result = asker.client.infer_and_wait(message)
        check(result, whole(data, encoding))
        assert published(trial, result.frame_number)[0].stamp_ns == 7_000_000_000


@pytest.mark.parametrize('kind', ['SingleThreadedExecutor', 'MultiThreadedExecutor'])
def test_await_in_a_callback_of_the_nodes_default_group(trial, whole, kind):
    """The group of the callback is busy while it awaits; the answer must come all the same."""
    from rclpy import executors

    image, done = array(), []
    asker = Asker(getattr(executors, kind)(), kind.lower())

    async def callback():
        timer.cancel()
        try:
            done.append(await asker.client.infer(image))
        except Exception as error:  # noqa: BLE001
            done.append(error)

    timer = asker.node.create_timer(0.01, callback)
    asker.executor.wake()
    try:
        trial.client.wait_for(lambda: done, 30.0, 'the end of the callback')
    finally:
        asker.close()
    check(done[0], whole(image))


def test_twenty_calls_at_once_from_asyncio_get_each_their_own_answer(trial, asker, whole):
    images = [array() for _ in range(20)]

    async def all_of_them():
        return await asyncio.gather(*(asker.client.infer(image) for image in images))

    results = asyncio.run(all_of_them())
    for image, result in zip(images, results):
        check(result, whole(image))
    assert len({result.frame_number for result in results}) == 20
    assert all(len(published(trial, result.frame_number)) == 1 for result in results)


def test_a_script_that_spins_nothing_and_two_threads_of_it(trial, whole):
    import rclpy

    from edge_dnn_partition.client import InferenceClient

    node = rclpy.create_node('script')
    try:
        client = InferenceClient(node, fleet='trial')
        rclpy.spin_once(node, timeout_sec=0.0)  # leaves its executor behind
        images, results = [array() for _ in range(4)], {}
        threads = [
            threading.Thread(target=lambda place=place: results.update({place: client.infer_and_wait(images[place])}))
            for place in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        for place, image in enumerate(images):
            check(results[place], whole(image))
        client.close()
    finally:
        node.destroy_node()


def image(encoding='rgb8', height=90, width=120, step=360, size=90 * 360):
    from sensor_msgs.msg import Image

    return Image(encoding=encoding, height=height, width=width, step=step, data=bytes(size))


def jpeg(cut=0):
    from sensor_msgs.msg import CompressedImage

    data = cv2.imencode('.jpg', array())[1].tobytes()
    return CompressedImage(format='jpeg', data=data[: len(data) - cut])


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        (dict, 'no image: fill either image or compressed'),
        (lambda: {'image': image(), 'compressed': jpeg()}, 'two images'),
        (lambda: {'image': image('64FC1')}, "image encoding '64FC1' is not supported"),
        (lambda: {'image': image(step=100)}, 'with 100 bytes in a row'),
        (lambda: {'image': image(size=90)}, 'needs 32400 bytes, not 90'),
        (lambda: {'image': image('uyvy', 90, 121, 242, 90 * 242)}, 'cannot be converted'),
        (lambda: {'compressed': jpeg(cut=200)}, 'broken JPEG: its end is missing'),
        (lambda: {'image': image(), 'wait_seconds': float('nan')}, 'wait_seconds is nan'),
    ],
)
def test_a_bad_image_is_refused_with_the_reason_and_the_stream_goes_on(trial, fields, reason):
    from edge_dnn_partition.srv import Infer

    answer = trial.client.call(Infer, '/trial/infer', Infer.Request(**fields()))
    assert (answer.success, answer.status, answer.result.frame_number) == (False, Infer.Response.REFUSED, 0)
    assert reason in answer.message
    trial.more_frames(3)


@pytest.mark.parametrize(
    ('image', 'encoding', 'reason'),
    [
        (lambda: array().astype(np.float32), '', 'float32'),
        (lambda: array(channels=5), '', 'give uint8'),
        (lambda: np.empty((0, 4), np.uint8), '', 'give uint8'),
        (array, 'mono8', 'holds no mono8 pixels'),
        (array, 'yuv9', "image encoding 'yuv9' is not supported"),
        (lambda: b'GIF89a', '', 'neither a JPEG nor a PNG'),
        (lambda: 'photo.jpg', '', 'not str'),
    ],
)
def test_what_is_no_image_is_a_value_error(asker, image, encoding, reason):
    with pytest.raises(ValueError, match=reason):
        asker.client.infer_and_wait(image(), encoding=encoding)


def test_a_fleet_that_is_not_there(asker):
    from edge_dnn_partition.client import InferenceClient, InferenceTimeoutError

    client = InferenceClient(asker.node, fleet='nobody')
    with pytest.raises(InferenceTimeoutError, match='nobody serves /nobody/infer; is the fleet running'):
        client.infer_and_wait(array(), timeout=0.3)
    client.close()


def test_calls_while_the_plan_switches_are_answered_once_each(trial, asker, whole):
    half = len(trial.model.layers) // 2
    image, answers, ended = array(), [], threading.Event()

    def ask():
        while not ended.is_set():
            futures = [asker.client.begin(image) for _ in range(3)]
            for future in futures:
                done = threading.Event()
                future.add_done_callback(lambda _, done=done: done.set())
                assert done.wait(60.0)
                answers.append(future)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for label in (f'pi:pre-{half} cloud:{half}-end', 'jetson:pre-end', f'jetson:pre-{half} pi:{half}-end', 'cloud:pre-end'):
            trial.follow(label, 3)
    finally:
        ended.set()
        thread.join(60.0)
    results, expected = [future.result() for future in answers], whole(image)
    for result in results:
        check(result, expected)
    numbers = [result.frame_number for result in results]
    assert len(numbers) > 10 and len(set(numbers)) == len(numbers)
    assert len({result.plan_version for result in results}) > 2, 'results of several plans'
    for number in numbers:
        assert len(published(trial, number)) == 1


def test_a_call_that_finds_no_place_is_refused_and_one_that_grows_too_old_expires(trial, asker):
    from edge_dnn_partition.client import InferenceExpiredError, InferenceRefusedError

    trial.follow('cloud:pre-end')
    trial.client.set_parameters('pi/frame_source', {'max_in_flight': 1})
    trial.client.emulate({}, {('pi', 'cloud'): (10_000.0, 0.001)})  # a camera's image takes half a second, an array seconds
    try:
        begin = len(trial.news.frames)
        trial.client.wait_for(lambda: any(f.latency_seconds > 0.3 for f in trial.news.frames[begin:]), 20.0, 'a slow frame')
        with pytest.raises(InferenceRefusedError, match='busy: 1 frames in flight, bound 1'):
            asker.client.infer_and_wait(array(), wait_seconds=0)
        trial.client.set_parameters('pi/frame_source', {'max_age': 0.3})
        with pytest.raises(InferenceExpiredError, match='has expired: no result within max_age'):
            asker.client.infer_and_wait(array())
        trial.client.set_parameters('pi/frame_source', {'max_age': 0.0, 'calls': 1})
        first, second = asker.client.begin(array()), asker.client.begin(array())
        trial.client.wait_for(second.done, 20.0, 'the answer to the second call')
        with pytest.raises(InferenceRefusedError, match='busy: 1 calls are open'):
            second.result()
        assert not first.done()
    finally:
        trial.client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
        trial.client.set_parameters('pi/frame_source', {'max_in_flight': 0, 'max_age': 0.0, 'calls': 32})
    trial.client.wait_for(first.done, 60.0, 'the answer to the first call')
    assert first.result().frame_number
    trial.more_frames(3)
