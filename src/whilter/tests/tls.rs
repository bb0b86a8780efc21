//! An end of TLS without its close_notify, which many servers never send, is an end of the
//! connection like any other.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use super::super::answer::{Answer, Given};
use super::super::body::Body;
use super::super::transport::{Outgoing, Transport, builder};
use super::*;

/// A certificate of 127.0.0.1 until 2126, and its key.
const LOCALHOST: &[u8] = include_bytes!("localhost.pem");

/// Answers each connection's request with the next of these, and drops the connection.
fn serve_and_drop(listener: &TcpListener, answers: &[String]) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = CertificateDer::from_pem_slice(LOCALHOST).unwrap();
    let key = PrivateKeyDer::from_pem_slice(LOCALHOST).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
    for answer in answers {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = Stream::new(&mut tls, &mut socket);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "the client has gone");
            request.extend_from_slice(&bytes[..read]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        stream.flush().unwrap();
    }
}

#[tokio::test]
async fn a_tls_connection_that_just_ends_takes_no_answer_with_it() {
    let body = r#"{"status":"SUCCESS"}"#;
    let until_the_end = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}");
    let half = until_the_end[..until_the_end.len() - 3].to_owned();
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let answers = [until_the_end, chunked, half];
    let server = std::thread::spawn(move || serve_and_drop(&listener, &answers));

    let root = reqwest::Certificate::from_pem(LOCALHOST).unwrap();
    let builder = builder(&api(1), 1, PATIENCE).tls_certs_only([root]);
    let transport = Transport::of(&api(1), builder).unwrap();
    for is_whole in [true, true, false] {
        let outgoing = Outgoing::post(url.parse().unwrap(), Bytes::from("{}"));
        let answer = transport.exchange("submit", outgoing, Instant::now() + PATIENCE).await;
        let Answer::Given(Given { body: read, .. }) = answer else { panic!("{answer:?}") };
        match read {
            Body::Whole(bytes) => assert!(is_whole && bytes == body, "{bytes:?}"),
            Body::Cut(why) => assert!(!is_whole, "{why}"),
        }
    }
    server.join().unwrap();
}
