import os
from contextlib import AsyncExitStack

import socketio

from moorage.sdk import use_moorage

sio = socketio.AsyncServer(async_mode="asgi")
link = AsyncExitStack()


async def start():
    moorage = await use_moorage(sio, hub="chat", connection_string=os.environ["MOORAGE_CONNECTION_STRING"])
    await link.enter_async_context(moorage)


app = socketio.ASGIApp(sio, on_startup=start, on_shutdown=link.aclose)


@sio.event
async def connect(sid, environ, auth):
    await sio.save_session(sid, {"name": auth["name"]})
    await sio.emit("welcome", auth["name"], to=sid)


@sio.event
async def join(sid, room):
    await sio.enter_room(sid, room)
    return len(sio.rooms(sid))


@sio.event
async def say(sid, room, text):
    name = (await sio.get_session(sid))["name"]
    await sio.emit("said", (name, text), to=room, skip_sid=sid)


@sio.event
async def shout(sid, text):
    name = (await sio.get_session(sid))["name"]
    await sio.emit("shouted", (name, text), skip_sid=sid)


@sio.event
async def ask(sid, question):
    return await sio.call("question", question, to=sid)


@sio.event
async def echo(sid, data):
    return data


@sio.event
async def disconnect(sid, reason):
    await sio.emit("left", (await sio.get_session(sid))["name"])
