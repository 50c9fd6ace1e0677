"""A TLS client that asks for one name first and for another when the server has it ask again.

It is OpenSSL's own library, through ctypes, on its standard input and output: retry.py NAME OTHER.
The end of what it says on standard error is the name in the certificate that it got, or why it got none.
"""
import ctypes
import os
import sys

ssl = ctypes.CDLL("libssl.so.3")
crypto = ctypes.CDLL("libcrypto.so.3")
for name in "TLS_client_method SSL_CTX_new SSL_new BIO_new BIO_s_mem SSL_get1_peer_certificate".split():
    getattr(ssl if name[0] in "ST" else crypto, name).restype = ctypes.c_void_p
crypto.X509_get_subject_name.restype = crypto.X509_NAME_oneline.restype = ctypes.c_void_p
p = ctypes.c_void_p
SET_GROUPS_LIST, SET_SERVER_NAME, WANT_READ = 92, 55, 2

context = p(ssl.SSL_CTX_new(p(ssl.TLS_client_method())))
# The server takes the second group alone; a key is sent for the first.
ssl.SSL_CTX_ctrl(context, SET_GROUPS_LIST, ctypes.c_long(0), b"X25519:P-256")
session = p(ssl.SSL_new(context))
incoming, outgoing = (p(crypto.BIO_new(p(crypto.BIO_s_mem()))) for _ in range(2))
ssl.SSL_set_bio(session, incoming, outgoing)
ssl.SSL_set_connect_state(session)
ssl.SSL_ctrl(session, SET_SERVER_NAME, ctypes.c_long(0), sys.argv[1].encode())


def flush():
    data = ctypes.create_string_buffer(65536)
    while (size := crypto.BIO_read(outgoing, data, len(data))) > 0:
        os.write(1, data.raw[:size])


while (result := ssl.SSL_do_handshake(session)) != 1:
    if ssl.SSL_get_error(session, result) != WANT_READ:
        sys.exit("handshake failed")
    flush()
    ssl.SSL_ctrl(session, SET_SERVER_NAME, ctypes.c_long(0), sys.argv[2].encode())
    if not (got := os.read(0, 65536)):
        sys.exit("connection ended")
    crypto.BIO_write(incoming, got, len(got))
flush()
certificate = p(ssl.SSL_get1_peer_certificate(session))
text = ctypes.create_string_buffer(256)
crypto.X509_NAME_oneline(p(crypto.X509_get_subject_name(certificate)), text, len(text))
print(text.value.decode(), file=sys.stderr)
