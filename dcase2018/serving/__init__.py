"""A page on this machine to try taggers with, and the same as an API of JSON.

The process that serves knows neither sounds nor networks; those that listen may die without harm to it.

    messages     what goes between the process that serves and those that listen
    overview     a recording to look at: its outline and its log mels
    answers      what is said of a recording, as JSON
    worker       the process that listens
    pool         processes that listen, and others in place of those that died
    uploads      recordings that come over HTTP: in files without a name, within limits
    guard        who may ask, and what a browser may do with the answer
    application  what is answered to what
    server       from a socket to the signal that ends it

It may import foundation, corpus, features and using.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
