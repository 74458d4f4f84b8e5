"""A virtual phone with a certificate: made by the command, shown to a server that asks for it."""

import http.server
import ipaddress
import ssl
import threading

import pytest
from cryptography import x509

from tests.virtualphone.conftest import MAC, MODEL
from virtualphone import cli
from virtualphone.manufacturer import Issued


def make(folder, *words):
    return cli.main(["certificate", "--mac", MAC, "--model", MODEL, "--to", str(folder), *words])


@pytest.fixture
def server(tmp_path):
    """A TLS server that asks for certificates and keeps the subjects that it is shown."""
    make(tmp_path, "--serial", "FCH2133E8B9")
    own = Issued.root("Server")
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own.issue("127.0.0.1", alternative=loopback).save(tmp_path, "server")
    own.save(tmp_path, "server-authority")
    shown = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            certificate = self.connection.getpeercert()
            shown.append(dict(pair for names in certificate["subject"] for pair in names) if certificate else None)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "authority.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.server_port}", shown
        finally:
            listening.shutdown()
            thread.join()


def boot(folder, url, *words):
    quick = ["--retry-scale", "0.00001", "--max-retries", "0", "--timeout", "5", "--no-report"]
    shared = ["--mac", MAC, "--model", MODEL, "--memory", str(folder / "phones"), "--server", url]
    return cli.main(["boot", *shared, *quick, "--ca", str(folder / "server-authority.pem"), *words])


def test_the_phone_shows_its_certificate(server, tmp_path):
    url, shown = server

    boot(tmp_path, url, "--certificate", str(tmp_path / f"{MAC}.pem"))

    assert shown
    assert {names["commonName"] for names in shown} == {f"{MODEL}-SEP{MAC}"}
    assert {names["serialNumber"] for names in shown} == {f"PID:{MODEL} SN:FCH2133E8B9"}


def test_without_one_it_shows_none(server, tmp_path):
    url, shown = server

    boot(tmp_path, url)

    assert shown
    assert set(shown) == {None}


def test_a_file_that_is_no_certificate_is_said(server, tmp_path, capsys):
    url, _ = server
    (tmp_path / "nothing.pem").write_text("nothing")
    (tmp_path / "nothing.key").write_text("nothing")

    assert boot(tmp_path, url, "--certificate", str(tmp_path / "nothing.pem")) == 2
    assert "no certificate" in capsys.readouterr().err
    assert boot(tmp_path, url, "--certificate", str(tmp_path / "missing.pem")) == 2


def test_the_authority_is_made_once_and_kept_to_its_owner(tmp_path):
    make(tmp_path)
    first = (tmp_path / "authority.pem").read_text()
    make(tmp_path, "--layout", "generic", "--days", "-10")

    assert (tmp_path / "authority.pem").read_text() == first
    assert (tmp_path / "authority.key").stat().st_mode & 0o077 == 0
    made = x509.load_pem_x509_certificate((tmp_path / f"{MAC}.pem").read_bytes())
    assert made.not_valid_before_utc < made.not_valid_after_utc
    assert MAC not in made.subject.rfc4514_string().upper()
