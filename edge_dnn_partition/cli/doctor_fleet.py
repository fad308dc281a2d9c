# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of a fleet's file."""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_dnn_partition import ros_env
from edge_dnn_partition.cache import check_writable
from edge_dnn_partition.cli.doctor_machine import Check
from edge_dnn_partition.cli.doctor_plan import check_any_plan, unused
from edge_dnn_partition.cli.doctor_sites import sites
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.fleet_key import fleet_key, read_token
from edge_dnn_partition.deployment.node_parameters import check_parameters, parameters_of
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, try_segments
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.inputs.images import image_folder, images, sample_image
from edge_dnn_partition.inputs.messages import message_class, readers_of
from edge_dnn_partition.planning.fleet.board import board
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet, load_fleet
from edge_dnn_partition.planning.fleet.inputs import Camera, cameras_of, place_of
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.results.postprocess import Postprocessor
from edge_dnn_partition.transport.tensors import Array


def fleet_file(path: str | Path, device: str | None = None, fleet_name: str = '') -> tuple[Check, ...]:
    """Ask of a fleet file what its nodes ask when they start: what is well here starts.

    :param device: which of its devices this machine is; None: all where it is played on one machine, else the one of its name.
    :param fleet_name: the fleet's, if it is not the file's.
    """
    try:
        fleet = load_fleet(path, fleet_name)
        here = (device,) if device is not None and fleet.device(device) else _devices_here(fleet)
    except UserError as error:
        return (Check('fleet file', 'fail', str(error), 'fix the fleet file, and copy it to all devices'),)
    asked = _Asked(fleet, Path(path), here)
    checks = [check for look in (
        asked.parameters, asked.key, asked.model, asked.preprocessing, asked.messages, asked.postprocessing, asked.ends,
        asked.scheduling, asked.plan, asked.unused, asked.providers, asked.stages, asked.meaning, asked.cameras, asked.journal,
        asked.token, asked.ports, asked.sites,
    ) if (check := look()) is not None]  # fmt: skip
    found = f'fleet {fleet.fleet}: {", ".join(fleet.devices)}; source {fleet.source}, objective {fleet.objective}'
    if here and len(here) < len(fleet.devices):
        found += f'; this machine is {", ".join(here)}'
    for name, played in ((name, each.emulate) for name, each in fleet.devices.items() if each.emulate is not None):
        if played.board is not None:
            found += f'; {name} is modelled ({board(played.board).what.partition(";")[0]})'
    return (Check('fleet file', 'ok', found), *checks, *(_for_all_robots(fleet) if fleet_name else ()))


def _devices_here(fleet: Fleet) -> tuple[str, ...]:
    """Return the devices that this machine is, as far as it can be known."""
    if len(fleet.devices) == 1 or all(device.emulate is not None for device in fleet.devices.values()):
        return tuple(fleet.devices)
    host = re.sub(r'\W', '_', socket.gethostname().partition('.')[0]).lower()
    return tuple(name for name in fleet.devices if host in (name.lower(), fleet.host_of(name).lower()))


def _for_all_robots(fleet: Fleet) -> list[Check]:
    """Say what would not be a robot's own, of a file that many robots have."""
    checks = []
    others = {f'inputs.{key}': getattr(given, 'topic', None) for key, given in fleet.inputs.items()}
    topics = {'camera': fleet.camera.topic, **others}
    for place, topic in topics.items():
        if topic is not None and topic.startswith('/') and not topic.startswith(f'/{fleet.fleet}/'):
            found = f'{place}.topic: {topic} is one for all robots that have this file'
            checks.append(Check('robots', 'warn', found, f"write '/{{fleet}}{topic}', or a name without / at its beginning"))
    if fleet.share is not None and fleet.host_of(fleet.source) == fleet.source:
        found = f'share: the {fleet.source} of all robots that have this file counts as one host'
        checks.append(Check('robots', 'warn', found, f"write share: {{hosts: {{{fleet.source}: '{{fleet}}_{fleet.source}'}}}}"))
    return checks


class _Asked:
    """The questions to one fleet file, in the order in which its nodes ask them; a later one builds on those before."""

    def __init__(self, fleet: Fleet, path: Path, here: tuple[str, ...]) -> None:
        self._fleet, self._path, self._here = fleet, path, here
        self._model: Model | None = None
        self._preprocessing: FramePreprocessing | None = None
        self._able: list[Device] = []
        self._schedules = False
        self._postprocessor: Postprocessor | None = None
        self._outputs: dict[str, Array] | None = None
        self._size = (640, 480)

    def parameters(self) -> Check | None:
        return _refusal('parameters', lambda: check_parameters(self._fleet.parameters), 'correct parameters: in the fleet file')

    def key(self) -> Check | None:
        return _refusal('key', lambda: fleet_key(self._fleet), 'see docs/security.md')

    def model(self) -> Check | None:
        def load() -> None:
            self._model = start_checks.model_of(self._fleet)

        return _refusal('model', load, 'copy the model to every device, to the same place relative to the fleet file')

    def preprocessing(self) -> Check | None:
        def read() -> None:
            assert self._model is not None
            self._preprocessing = start_checks.preprocessing_of(self._fleet, self._model)
            start_checks.check_sources(self._fleet, self._model, self._path)
            start_checks.initial_states(self._fleet, self._model)

        return None if self._model is None else _refusal('preprocessing', read, 'no frame can be processed without it')

    def messages(self) -> Check | None:
        """Ask for the types of the inputs' messages where the frame source is to run; elsewhere they need not be installed."""
        model = self._model
        if model is None or self._preprocessing is None or self._fleet.source not in self._here or not ros_env.ros_prefixes():
            return None

        def look() -> None:
            for name, reader in readers_of(self._fleet, model, self._path.resolve().parent).items():
                message_class(name, reader)

        return _refusal('inputs', look, 'the frame source refuses to start with this')

    def postprocessing(self) -> Check | None:
        def look() -> None:
            self._postprocessor = start_checks.postprocessing_of(self._fleet, self._path)

        return _refusal('postprocessing', look, 'correct postprocessing: under model, or leave it out')

    def ends(self) -> Check | None:
        parameters = self._parameters('frame_source')

        def look() -> None:
            start_checks.check_ends(self._fleet, self._fleet.source)
            if parameters is not None and self._model is not None and self._model.states:
                start_checks.check_stateful(hedge=parameters['hedge'])

        return _refusal('source and sink', look, 'the frame source refuses to start with this')

    def _parameters(self, node: str) -> dict[str, Any] | None:
        """Return a node's parameters; None where they are refused, as `parameters` says."""
        try:
            return parameters_of(self._fleet.parameters, node)
        except UserError:
            return None

    def scheduling(self) -> Check | None:
        parameters = self._parameters('scheduler')
        if parameters is None:
            return None

        def look() -> None:
            if self._model is None:
                start_checks.goal_of(parameters, self._fleet)
            else:
                start_checks.check_scheduling(self._fleet, self._model, parameters)
                self._schedules = True

        return _refusal('planning', look, 'the scheduler refuses to start with this')

    def plan(self) -> Check | None:
        """Ask for any plan at all; what a device really takes is known when it runs."""
        if self._model is None or self._preprocessing is None or not self._schedules:
            return None
        return _refusal('plan', functools.partial(check_any_plan, self._fleet, self._model), 'the fleet starts, but runs nothing')

    def unused(self) -> Check | None:
        parameters = self._parameters('scheduler')
        found = [] if parameters is None else list(unused(self._fleet, parameters, self._preprocessing))
        return Check('unused keys', 'warn', '; '.join(found), 'correct the fleet file, or remove the key') if found else None

    def providers(self) -> Check | None:
        """Ask for the providers of this machine's devices; of the others it can only be said what they need."""
        parameters = self._parameters('worker')
        if parameters is None:
            return None
        elsewhere: list[str] = []
        for name in self._fleet.devices:
            look = functools.partial(self._can_run, name, parameters)
            wrong = _refusal('providers', look, f'the worker on {name} refuses to start with this')
            if wrong is not None and name in self._here:
                return wrong
            elsewhere += [f'{name}: {wrong.found}'] if wrong is not None else []
        if self._here or not elsewhere:
            return None
        return Check('providers', 'warn', '; '.join(elsewhere), 'run this on that device, or name this one with --device NAME')

    def _can_run(self, name: str, parameters: Mapping[str, Any]) -> None:
        self._able.append(start_checks.with_parameters(self._fleet.device(name), parameters))

    def stages(self) -> Check | None:
        """Run every segment once, as the worker does when it profiles the model."""
        if self._model is None or self._preprocessing is None or not self._able:
            return None
        model, device = self._model, self._able[0]

        def look() -> None:
            options = ProfileOptions(providers=device.providers, threads=device.threads)
            made = try_segments(model, options, self._samples())
            self._outputs = {name: array for name, array in made.items() if name not in model.states.values()}

        wrong = _refusal('stages', look, 'no device can profile the model, so there is no plan; export the model differently')
        if wrong is not None:
            return wrong
        inputs = ', '.join(f'{name} {list(model.tensors[name].shape)}{self._origin(name)}' for name in model.inputs)
        what = f'{model.name}: {len(model.layers)} layers, input{"s" * (len(model.inputs) > 1)} {inputs}'
        return Check('model', 'ok', f'{what}; its stages run on {device.providers[0]}')

    def _samples(self) -> dict[str, Array]:
        """Return the model's inputs for an image like the camera's, as far as they can be known."""
        assert self._preprocessing is not None
        values = dict(self._preprocessing.constants)
        cameras = cameras_of(self._fleet, self._preprocessing.inputs)
        for name, preprocessing in self._preprocessing.images.items():
            image = sample_image(cameras.get(name, self._fleet.camera))
            with suppress(UserError):  # a depth image is none that could be made up
                values[name] = preprocessing.apply(image.data, image.encoding)
                self._size = image.size
        return values

    def meaning(self) -> Check | None:
        """Read the outputs of the trial run as the frame source will."""
        if self._outputs is None or self._preprocessing is None or self._postprocessor is None:
            return None
        look = functools.partial(self._postprocessor, self._outputs, self._size, self._preprocessing.first)
        return _refusal('postprocessing', look, 'correct postprocessing: under model, or leave it out')

    def _origin(self, name: str) -> str:
        """Return where an input comes from, in words; nothing for the camera's image."""
        given = self._fleet.inputs.get(name)
        if given is not None:
            return f' ({given.kind}{", private" * given.private})'
        assert self._preprocessing is not None
        return '' if name in self._preprocessing.images else ' (by infer)'

    def cameras(self) -> Check | None:
        """Take the first image of each folder or video, and look for the samples; a topic is heard only when the fleet runs."""
        inputs = ModelInputs() if self._preprocessing is None else self._preprocessing.inputs
        for name, camera in (cameras_of(self._fleet, inputs) or {'': self._fleet.camera}).items():
            place = place_of(self._fleet, name)
            look = functools.partial(self._first_image, camera, place, name)
            if (wrong := _refusal('camera', look, f'correct {place}: in the fleet file')) is not None:
                return wrong
        return None

    def _first_image(self, camera: Camera, place: str, name: str) -> None:
        if camera.samples is not None and self._here:
            next(image_folder(camera.samples))
        if self._fleet.source not in self._here:
            return
        if camera.camera is not None and not (device := Path(f'/dev/video{camera.camera}')).exists():
            raise UserError(f'{place}.camera: {device} is not there; see which numbers /dev/video* has')
        if camera.images is None and camera.video is None:
            return
        stream = images(camera)
        assert stream is not None
        image = next(stream, None)
        if image is None:
            raise UserError(f'{camera.video}: contains no image')
        if self._preprocessing is not None and name in self._preprocessing.images:
            self._preprocessing.images[name].apply(image.data, image.encoding)

    def journal(self) -> Check | None:
        """Look whether the frame source may write where the file says; frames go on without."""
        folder = (self._parameters('frame_source') or {}).get('journal')
        if not folder or self._fleet.source not in self._here:
            return None
        path = Path(folder).expanduser()
        try:
            check_writable(next(place for place in (path, *path.absolute().parents) if place.exists()))
        except OSError as error:
            found = f'parameters.frame_source.journal: {path} cannot be written ({error.strerror or error})'
            advice = 'name another folder; without it the frames under way are neither reported nor sent again after a kill'
            return Check('journal', 'warn', found, advice)
        return None

    def token(self) -> Check | None:
        """Ask for the dashboard's token as the dashboard does; it may run on a machine that is none of the devices."""
        path = (self._parameters('dashboard') or {}).get('token_file', '')
        wrong = _refusal('dashboard', lambda: read_token(path), 'the dashboard refuses to start with this') if path else None
        return wrong if wrong is None or len(self._here) == len(self._fleet.devices) else replace(wrong, status='warn')

    def ports(self) -> Check | None:
        """Look whether the ports that other machines come to are free: the router's, and the dashboard's where the file sets it."""
        network = self._fleet.network
        taken = []
        port = int((network.router or ':0').rpartition(':')[2])
        if network.router_device in self._here and (why := _taken('', port)):
            taken.append(f'{port} of the router: {why}')
        dashboard = self._fleet.parameters.get('dashboard', {})
        port = dashboard.get('port', 0)
        if isinstance(port, int) and 0 < port < 65536 and (why := _taken(str(dashboard.get('host', '127.0.0.1')), port)):
            taken.append(f'{port} of the dashboard: {why}')
        if not taken:
            return None
        return Check('ports', 'warn', '; '.join(taken), 'unless this fleet is already running: choose another port')

    def sites(self) -> Check | None:
        return sites(self._fleet, self._here)


def _refusal(name: str, look: Callable[[], object], advice: str) -> Check | None:
    """Return what a question's answer makes of it; None if all is well."""
    try:
        look()
    except UserError as error:
        return Check(name, 'fail', ' '.join(str(error).split()), advice)
    except Exception as error:  # noqa: BLE001 (the nodes would fail, too)
        return Check(name, 'fail', f'{type(error).__name__}: {" ".join(str(error).split())[:200]}', f'{advice}; please report this')
    return None


def _taken(host: str, port: int) -> str:
    """Return why a TCP port cannot be listened at; empty if it can."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ''
