//! Frames that RFC 9113 and RFC 7541 forbid, each on a connection of its own, after the list of h2spec. The service refuses
//! each as the section says, and goes on to serve others.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as AsyncStream;

use super::bounds::SOON;
use super::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADER_BLOCK, HEADERS, PREFACE, RST_STREAM, frame,
};
use super::*;

const DATA: u8 = 0;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const PADDED: u8 = 8;

const PROTOCOL_ERROR: u8 = 1;
const FLOW_CONTROL_ERROR: u8 = 3;
const FRAME_SIZE_ERROR: u8 = 6;
const COMPRESSION_ERROR: u8 = 9;

/// A frame that the service sent: its kind, flags, stream and payload.
type Received = (u8, u8, u32, Vec<u8>);

/// What RFC 9113 lets the service do.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// End the connection, with this code if it says one.
    ConnectionError(u8),
    /// End the stream 1 with this code, or answer 400, or end the connection.
    StreamError(u8),
    /// Acknowledge the frame of this kind.
    Acknowledged(u8),
    /// Answer 200 on the stream 1.
    Served,
}

use Expected::{Acknowledged, ConnectionError, Served, StreamError};

/// A request for `/`, which then goes on.
fn open_stream() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, HEADER_BLOCK)
}

/// A whole request for `/healthz` with these further header fields.
fn request_with(fields: &[u8]) -> Vec<u8> {
    let block = [b"\x82\x86\x44\x08/healthz\x41\x09localhost".as_slice(), fields].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
}

/// A whole request with these header fields alone.
fn request_of(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

fn setting(name: u8, value: u32) -> Vec<u8> {
    let [a, b, c, d] = value.to_be_bytes();
    frame(SETTINGS, 0, 0, &[0, name, a, b, c, d])
}

fn violations_of_frames() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let protocol = ConnectionError(PROTOCOL_ERROR);
    let size = ConnectionError(FRAME_SIZE_ERROR);
    let window = [0x7f, 0xff, 0xff, 0xff];
    vec![
        ("4.2: a frame above the greatest size", frame(DATA, 0, 1, &[0; 16_385]), size),
        ("4.3: a block that cannot be decoded", request_of(b"\x80"), ConnectionError(COMPRESSION_ERROR)),
        ("5.1: data on a stream that is idle", frame(DATA, END_STREAM, 1, b"x"), protocol),
        ("5.1: a reset of a stream that is idle", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), protocol),
        ("5.1: a window for a stream that is idle", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), protocol),
        ("5.1.1: a stream with an even number", frame(HEADERS, 5, 2, HEADER_BLOCK), protocol),
        ("6.1: data on no stream", frame(DATA, 0, 0, b"x"), protocol),
        ("6.1: more padding than data", [open_stream(), frame(DATA, PADDED, 1, &[9, 0])].concat(), protocol),
        ("6.2: a request on no stream", frame(HEADERS, 5, 0, HEADER_BLOCK), protocol),
        (
            "6.2: another frame between the parts of a block",
            [frame(HEADERS, END_STREAM, 1, HEADER_BLOCK), frame(PING, 0, 0, &[0; 8])].concat(),
            protocol,
        ),
        ("6.3: a priority of no stream", frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 1]), protocol),
        ("6.4: a reset of no stream", frame(RST_STREAM, 0, 0, &[0, 0, 0, 8]), protocol),
        ("6.4: a reset of another size", [open_stream(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), size),
        ("6.5: settings of a stream", frame(SETTINGS, 0, 1, &[]), protocol),
        ("6.5: settings of another size", frame(SETTINGS, 0, 0, &[0; 5]), size),
        ("6.5: an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), size),
        ("6.5.2: a push that is neither on nor off", setting(2, 2), protocol),
        ("6.5.2: a window above the greatest", setting(4, 1 << 31), ConnectionError(FLOW_CONTROL_ERROR)),
        ("6.5.2: a frame size below the least", setting(5, 16_383), protocol),
        ("6.6: a push by a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), protocol),
        ("6.7: a ping of a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        ("6.7: a ping of another size", frame(PING, 0, 0, &[0; 7]), size),
        ("6.8: a farewell of a stream", frame(GOAWAY, 0, 1, &[0; 8]), protocol),
        ("6.9: a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), protocol),
        ("6.9: a window of another size", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), size),
        (
            "6.9.1: windows above the greatest",
            [frame(WINDOW_UPDATE, 0, 0, &window), frame(WINDOW_UPDATE, 0, 0, &window)].concat(),
            ConnectionError(FLOW_CONTROL_ERROR),
        ),
        ("6.10: a part of no block", frame(CONTINUATION, END_HEADERS, 1, HEADER_BLOCK), protocol),
    ]
}

fn violations_of_requests() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let malformed = StreamError(PROTOCOL_ERROR);
    vec![
        ("8.2.1: a name with a capital letter", request_with(b"\0\x01A\x01b"), malformed),
        ("8.2.2: a header of the connection", request_with(b"\0\x0aconnection\x05close"), malformed),
        ("8.2.2: a coding of the connection", request_with(b"\0\x11transfer-encoding\x07chunked"), malformed),
        ("8.3: a field of HTTP/2 that is unknown", request_with(b"\0\x05:test\x01b"), malformed),
        ("8.3: a field of an answer", request_with(b"\x88"), malformed),
        ("8.3: a field of HTTP/2 behind others", request_of(b"\x82\x86\0\x01a\x01b\x84"), malformed),
        ("8.3.1: no method", request_of(b"\x86\x84\x41\x09localhost"), malformed),
        ("8.3.1: no scheme", request_of(b"\x82\x84\x41\x09localhost"), malformed),
        ("8.3.1: no path", request_of(b"\x82\x86\x41\x09localhost"), malformed),
        ("8.3.1: two methods", request_of(b"\x82\x82\x86\x84\x41\x09localhost"), malformed),
        (
            "8.1.1: less data than announced",
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    b"\x83\x86\x44\x0b/v1/reserve\x41\x09localhost\0\x0econtent-length\x012",
                ),
                frame(DATA, END_STREAM, 1, b"x"),
            ]
            .concat(),
            malformed,
        ),
    ]
}

fn what_is_allowed() -> Vec<(&'static str, Vec<u8>, Expected)> {
    vec![
        ("6.5.3: settings are acknowledged", setting(3, 100), Acknowledged(SETTINGS)),
        ("6.7: a ping is answered", frame(PING, 0, 0, b"abcdefgh"), Acknowledged(PING)),
        (
            "4.1: a frame of an unknown kind is ignored",
            [frame(0xbe, 0, 0, b"x"), request_with(b"")].concat(),
            Served,
        ),
        ("6.5.2: an unknown setting is ignored", [setting(0xfe, 7), request_with(b"")].concat(), Served),
        (
            "6.10: a block in two parts",
            {
                let whole = request_with(b"");
                let (first, second) = whole[9..].split_at(5);
                [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)].concat()
            },
            Served,
        ),
    ]
}

#[tokio::test]
async fn frames_and_requests_against_the_standard_are_refused_and_others_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let mut wrong = Vec::new();
    for (name, bytes, expected) in
        [violations_of_frames(), violations_of_requests(), what_is_allowed()].concat()
    {
        let mut stream = AsyncStream::connect(&server.address).await.expect("it listens");
        stream.write_all(&[PREFACE, &bytes].concat()).await.expect("it is sent");
        let mut read = Vec::new();
        let judged = async {
            loop {
                let is_open = stream.read_buf(&mut read).await.is_ok_and(|length| length > 0);
                match verdict(&frames(&read), is_open, expected) {
                    Some(verdict) => return verdict,
                    None if is_open => {}
                    None => return Err("the connection ended".to_owned()),
                }
            }
        };
        let verdict = tokio::time::timeout(SOON, judged).await;
        let verdict = verdict.unwrap_or_else(|_| Err(format!("nothing happened: {:?}", frames(&read))));
        if let Err(error) = verdict {
            wrong.push(format!("{name}: expected {expected:?}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    tokio::task::spawn_blocking(move || server.assert_answers()).await.expect("it answers");
}

/// The frames that were read whole.
fn frames(mut bytes: &[u8]) -> Vec<Received> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let Some((payload, rest)) = rest.split_at_checked(usize::try_from(length).expect("short")) else {
            break;
        };
        frames.push((head[3], head[4], stream, payload.to_vec()));
        bytes = rest;
    }
    frames
}

/// Whether the service did what was expected; `None` while that is open.
fn verdict(frames: &[Received], is_open: bool, expected: Expected) -> Option<Result<(), String>> {
    let find = |kind: u8| frames.iter().find(|(found, ..)| *found == kind);
    let code = |frame: &Received| frame.3.get(if frame.0 == GOAWAY { 7 } else { 3 }).copied();
    // The h2 crate says PROTOCOL_ERROR of any frame that it cannot parse, where the RFC has more exact codes.
    let says = |frame: &Received, expected: u8| {
        let is_right = code(frame).is_some_and(|code| code == expected || code == PROTOCOL_ERROR);
        if is_right { Ok(()) } else { Err(format!("{frame:?}")) }
    };
    let has_status = |first_byte: u8| find(HEADERS).map(|frame| frame.3.first() == Some(&first_byte));
    match expected {
        ConnectionError(expected) => match find(GOAWAY) {
            Some(frame) => Some(says(frame, expected)),
            None if is_open => None,
            None => Some(Ok(())),
        },
        StreamError(expected) => match find(RST_STREAM).or(find(GOAWAY)) {
            Some(frame) => Some(says(frame, expected)),
            // 0x8c is `:status 400` in the static table.
            None if has_status(0x8c) == Some(true) => Some(Ok(())),
            None if has_status(0x8c) == Some(false) => Some(Err(format!("{frames:?}"))),
            None => None,
        },
        Acknowledged(kind) => frames
            .iter()
            .any(|(found, flags, ..)| *found == kind && flags & ACK != 0 && is_of_test(kind, frames))
            .then_some(Ok(())),
        // 0x88 is `:status 200`.
        Served => {
            has_status(0x88).map(|is_served| if is_served { Ok(()) } else { Err(format!("{frames:?}")) })
        }
    }
}

/// Whether an acknowledgement is that of the test's own frame: the settings of the preface are acknowledged, too.
fn is_of_test(kind: u8, frames: &[Received]) -> bool {
    let acknowledged = frames.iter().filter(|(found, flags, ..)| *found == kind && flags & ACK != 0).count();
    acknowledged >= if kind == SETTINGS { 2 } else { 1 }
}
