import os

from flask import Flask, request, session
from flask_socketio import SocketIO, call, emit, join_room, rooms

from moorage.sdk import use_moorage_sync

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
socketio = SocketIO(app, async_mode="threading")


@socketio.event
def connect(auth):
    session["name"] = auth["name"]
    emit("welcome", session["name"])


@socketio.event
def join(room):
    join_room(room)
    return len(rooms())


@socketio.event
def say(room, text):
    emit("said", (session["name"], text), to=room, include_self=False)


@socketio.event
def shout(text):
    emit("shouted", (session["name"], text), broadcast=True, include_self=False)


@socketio.event
def ask(question):
    return call("question", question, to=request.sid)


@socketio.event
def echo(data):
    return data


@socketio.event
def disconnect(reason):
    emit("left", session["name"], broadcast=True)


if __name__ == "__main__":
    use_moorage_sync(socketio, hub="chat", connection_string=os.environ["MOORAGE_CONNECTION_STRING"])
    socketio.run(app, port=int(os.environ["PORT"]), allow_unsafe_werkzeug=True)
