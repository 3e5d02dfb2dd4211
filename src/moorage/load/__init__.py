"""A load tester for any Socket.IO server (`moorage bench`).

The command's process (`run`) starts worker processes, which hold the clients, and adds up what they report.
A worker (`worker`) runs one scenario (`scenarios`) over its clients (`client`), whose bytes go through a
transport (`transports`).
"""
