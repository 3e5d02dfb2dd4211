"""Protocol state of one peer, a client or an app server. Pure; time is an argument."""
