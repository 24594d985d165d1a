//! Serves one connection: the TLS handshake, the choice of protocol, and HTTP until the end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::OptionFuture;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::activity::Activity;
use super::answer_body::{AnswerBody, counted};
use super::bounds::Bound;
use super::client_stream::{ClientStream, Protocol, Transport};
use super::hang_up::HangUpStream;
use super::request_body::RequestBody;
use crate::server::api;
use crate::server::audit::Peer;
use crate::server::tls::ClientIdentity;

/// The most headers that hyper reads without an allocation for each request.
const HEADERS_MAX: usize = 100;
/// What one connection of HTTP/1 reads ahead. hyper's own bound is 400 KiB, and a client that sends much holds all of it.
const HTTP1_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// What HTTP/2 buffers of the answers of one connection, beside answers in one part.
const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>, activity: Arc<Activity>) {
    // Answers are written whole. Nothing is gained by a wait for more.
    stream.set_nodelay(true).ok();
    let Some(transport) = secured(stream, &shared, &activity).await else { return };
    let mut stream = ClientStream::new(transport, Arc::clone(&activity));
    match stream.protocol().await {
        Ok(Protocol::Http1) => serve_http1(stream, &shared, &activity).await,
        Ok(Protocol::Http2) => serve_http2(stream, &shared, &activity).await,
        Err(error) => tracing::debug!(%error, "a connection failed"),
    }
}

/// The stream, after the TLS handshake if there is one. `None` if it fails.
async fn secured(stream: TcpStream, shared: &Shared, activity: &Activity) -> Option<Transport> {
    let stream = HangUpStream::new(stream);
    let Some(configs) = &shared.tls else { return Some(Transport::Plain(stream)) };
    let config = Arc::clone(&configs.borrow());
    activity.set_shaking_hands(true);
    let secured = TlsAcceptor::from(config).accept(stream).await;
    activity.set_shaking_hands(false);
    match secured {
        Ok(stream) => Some(Transport::Tls(Box::new(stream))),
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
    }
}

async fn serve_http1(stream: ClientStream, shared: &Arc<Shared>, activity: &Arc<Activity>) {
    let client = stream.client();
    let service = service_fn(|request| answer(request, client.as_ref(), shared, activity));
    let mut builder = http1::Builder::new();
    let header_bytes_max = activity.bounds().settings.header_bytes_max;
    builder
        .half_close(true)
        .max_header_size(header_bytes_max)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX.max(header_bytes_max));
    let connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    drive(connection, http1::Connection::graceful_shutdown, shared.ending.subscribe(), activity).await;
}

async fn serve_http2(stream: ClientStream, shared: &Arc<Shared>, activity: &Arc<Activity>) {
    activity.set_http2();
    let service = service_fn({
        let (client, shared, activity) = (stream.client(), Arc::clone(shared), Arc::clone(activity));
        move |request| answer(request, client.as_ref(), &shared, &activity)
    });
    let settings = &activity.bounds().settings;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(settings.http2_streams_max)
        .max_header_list_size(u32::try_from(settings.header_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX);
    let connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    drive(connection, http2::Connection::graceful_shutdown, shared.ending.subscribe(), activity).await;
}

/// Runs a connection to its end. `end` lets it end after the requests that it serves.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    end: impl Fn(Pin<&mut C>),
    mut ending: watch::Receiver<bool>,
    activity: &Arc<Activity>,
) {
    let mut ending = pin!(ending.wait_for(|ending| *ending));
    let max_age = activity.bounds().settings.max_age();
    let mut aged = pin!(OptionFuture::from(max_age.map(|age| sleep(spread(age)))));
    let mut is_ending = false;
    // Dropped before the connection is.
    let _closing = Closing(activity);
    let ended = poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            if activity.has_too_many_resets() {
                activity.bounds().strike(Bound::Http2Resets);
                return Poll::Ready(Ok(()));
            }
            let mut must_end = || {
                ending.as_mut().poll(context).is_ready()
                    || matches!(aged.as_mut().poll(context), Poll::Ready(Some(())))
            };
            if is_ending || !must_end() {
                return Poll::Pending;
            }
            is_ending = true;
            end(connection.as_mut());
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Up to one and a half times as long, so that the connections of one client do not end together.
fn spread(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(1.0..1.5))
}

/// Notes that a connection is about to be dropped.
struct Closing<'a>(&'a Activity);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.set_closing();
    }
}

/// Answers one request.
fn answer(
    request: Request<Incoming>,
    client: Option<&ClientIdentity>,
    shared: &Arc<Shared>,
    activity: &Arc<Activity>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
    let mut open = activity.begin();
    let headers_max = activity.bounds().settings.headers_max.min(HEADERS_MAX);
    let answered = if request.headers().len() > headers_max {
        activity.bounds().strike(Bound::Headers);
        None
    } else {
        let (mut head, body) = request.into_parts();
        if let Some(client) = client {
            head.extensions.insert(client.clone());
        }
        // For the audit lines. The calls that come often pay for no extension.
        if head.method == Method::PUT || head.uri.path().starts_with(api::ADMIN_PATH) {
            head.extensions.insert(Peer(activity.peer()));
        }
        let body = RequestBody::new(body, &head.headers, activity);
        Some(shared.service.call(Request::from_parts(head, body)))
    };
    async move {
        let response = match answered {
            Some(response) => response.await?,
            None => api::too_many_headers(),
        };
        open.answered();
        Ok(counted(response, open.activity()))
    }
}
