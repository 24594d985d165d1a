//! The stream of a client, with or without TLS, that tells which protocol it speaks and when it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::hang_up::HangUpStream;
use crate::server::tls::ClientIdentity;

/// No method of HTTP/1 begins like the preface of HTTP/2 does.
const HTTP2_PREFACE_START: &[u8] = b"PRI * ";
/// How much of a request is read to learn its protocol. Most requests fit, so that this costs no second read.
const FIRST_READ_BYTES_MAX: usize = 1_024;

/// A client's stream.
pub(super) struct ClientStream {
    transport: Transport,
    /// What was read to learn the protocol, and is read again.
    first: Bytes,
    activity: Arc<Activity>,
}

/// What carries the bytes.
pub(super) enum Transport {
    Plain(HangUpStream),
    Tls(Box<TlsStream<HangUpStream>>),
}

/// The version of HTTP that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl ClientStream {
    pub(super) fn new(transport: Transport, activity: Arc<Activity>) -> Self {
        Self { transport, first: Bytes::new(), activity }
    }

    /// The protocol: by agreement within TLS, else by how the client begins.
    ///
    /// # Errors
    ///
    /// The stream cannot be read.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        if let Transport::Tls(stream) = &self.transport
            && let Some(agreed) = stream.get_ref().1.alpn_protocol()
        {
            return Ok(if agreed == b"h2" { Protocol::Http2 } else { Protocol::Http1 });
        }
        let mut first = BytesMut::with_capacity(FIRST_READ_BYTES_MAX);
        let protocol = loop {
            let length = first.len().min(HTTP2_PREFACE_START.len());
            if first[..length] != HTTP2_PREFACE_START[..length] {
                break Protocol::Http1;
            }
            if length == HTTP2_PREFACE_START.len() {
                break Protocol::Http2;
            }
            if self.read_buf(&mut first).await? == 0 {
                break Protocol::Http1;
            }
        };
        self.first = first.freeze();
        Ok(protocol)
    }

    /// Whom the client's certificate names, if it has shown one.
    pub(super) fn client(&self) -> Option<ClientIdentity> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(ClientIdentity::of),
        }
    }

    fn transport(&mut self) -> Pin<&mut dyn ReadWrite> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream),
            Transport::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }
}

/// What both transports do.
trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ReadWrite for S {}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            if self.first.is_empty() {
                // Frees the buffer, to which an empty rest would hold on.
                self.first = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        let result = self.transport().poll_read(context, buffer);
        if buffer.filled().len() > filled {
            self.activity.read();
        }
        match result {
            // TLS calls it unexpected when a client closes its connection without a word. HTTP has lengths, so nothing is cut.
            Poll::Ready(Err(ref error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(()) | Err(_)) | Poll::Pending => result,
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.transport().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transport().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport().poll_shutdown(context)
    }
}
