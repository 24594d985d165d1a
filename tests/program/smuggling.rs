//! Requests whose end is in doubt. A proxy and the service must never disagree about it, so none of them is taken twice, and
//! what stands behind a refused one is not read as a request.

use super::bounds::read_all;
use super::*;

/// Would be answered if the service read it as a request.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: smuggled\r\n\r\n";

/// How the service answers, on a connection that then ends.
fn answers(server: &Server, sent: &str) -> Vec<u16> {
    let stream = server.send(sent);
    // Fails if the service has closed the connection already.
    stream.shutdown(std::net::Shutdown::Write).ok();
    let (text, _) = read_all(stream);
    let statuses = text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().expect("a status"));
    statuses.collect()
}

#[test]
fn a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let post = "POST /v1/complete HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for (what, sent) in [
        (
            "both lengths",
            format!("{post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "both, the other way",
            format!("{post}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        ("two lengths", format!("{post}content-length: 2\r\ncontent-length: 50\r\n\r\n{{}}{SMUGGLED}")),
        ("a list of lengths", format!("{post}content-length: 2, 50\r\n\r\n{{}}{SMUGGLED}")),
        ("a signed length", format!("{post}content-length: +2\r\n\r\n{{}}{SMUGGLED}")),
        ("a negative length", format!("{post}content-length: -2\r\n\r\n{{}}{SMUGGLED}")),
        ("a hexadecimal length", format!("{post}content-length: 0x2\r\n\r\n{{}}{SMUGGLED}")),
        ("no coding", format!("{post}transfer-encoding: identity\r\n\r\n{{}}{SMUGGLED}")),
        ("chunked is not last", format!("{post}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("a space before the colon", format!("{post}content-length : 2\r\n\r\n{{}}{SMUGGLED}")),
        ("a folded header", format!("{post}content-length: 2\r\n x: y\r\n\r\n{{}}{SMUGGLED}")),
        ("a folded coding", format!("{post}transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        (
            "a size of chunk that is no number",
            format!("{post}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a size of chunk beyond 64 bits",
            format!("{post}transfer-encoding: chunked\r\n\r\n10000000000000000\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a chunk longer than its size",
            format!("{post}transfer-encoding: chunked\r\n\r\n1\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        ("a carriage return alone", format!("{post}content-length: 2\rx: y\r\n\r\n{{}}{SMUGGLED}")),
        ("a zero byte", format!("{post}x: a\0b\r\n\r\n{SMUGGLED}")),
    ] {
        let statuses = answers(&server, &sent);
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{what}: {statuses:?}");
        assert!(statuses.len() <= 1, "{what}: {statuses:?}");
    }
}

#[test]
fn a_request_whose_end_is_clear_is_taken_once_and_the_next_one_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let post = "POST /v1/complete HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
    for (what, sent) in [
        ("a length", format!("{post}content-length: 2\r\n\r\n{{}}{SMUGGLED}")),
        (
            "the same length twice",
            format!("{post}content-length: 2\r\ncontent-length: 2\r\n\r\n{{}}{SMUGGLED}"),
        ),
        ("chunks", format!("{chunked}2\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}")),
        ("chunks with extensions", format!("{chunked}2;a=b\r\n{{}}\r\n0;c\r\n\r\n{SMUGGLED}")),
        ("chunks with trailers", format!("{chunked}2\r\n{{}}\r\n0\r\ncontent-length: 99\r\n\r\n{SMUGGLED}")),
        ("line feeds alone", format!("{}{SMUGGLED}", post.replace("\r\n", "\n") + "content-length: 2\n\n{}")),
    ] {
        assert_eq!(answers(&server, &sent), [400, 200], "{what}");
    }
}

#[test]
fn endless_chunk_extensions_and_trailers_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let chunked = "POST /v1/complete HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                   transfer-encoding: chunked\r\n\r\n2";
    for sent in [
        format!("{chunked};{}\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}", "x".repeat(100_000)),
        format!("{chunked}\r\n{{}}\r\n0\r\n{}\r\n{SMUGGLED}", "x: y\r\n".repeat(20_000)),
    ] {
        let statuses = answers(&server, &sent);
        assert!(statuses.len() <= 1 && !statuses.contains(&200), "{statuses:?}");
    }
}
