"""A page on this machine on which a network learns the digits while one looks on."""
