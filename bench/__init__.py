"""Compares Moorage with native Socket.IO and a bare C loop, in one run on one machine: `python -m bench`."""
