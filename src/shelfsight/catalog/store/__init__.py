"""The catalogue's SQL: channels, products, images, and the history of their changes.

Every function works in the transaction of the connection it is given. One that writes locks the channel first, so
that the channel's revisions come in the order of commit and whoever reads changes by revision never misses one.
"""
