//! The body of a request as it arrives: in time, counted, and never half of it for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::activity::{Activity, AwaitedBody};
use super::bounds::Bound;
use crate::server::body::{BODY_BYTES_MAX, BodyError};

/// How many bytes of a refused body are read and thrown away. A client that still sends when its connection is closed may
/// lose the answer.
const DISCARDED_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// The body of a request.
pub(super) struct RequestBody {
    /// `None` once something else reads the rest.
    incoming: Option<Incoming>,
    activity: Arc<Activity>,
    /// Whether the last answer was that more is to come.
    is_pending: bool,
    /// Bytes of this body in the budget of all bodies.
    counted: usize,
    awaited: Option<Awaited>,
    state: BodyState,
}

/// A body that was not there when it was asked for.
struct Awaited {
    deadline: Pin<Box<Sleep>>,
    _guard: AwaitedBody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    /// More may arrive.
    Open,
    /// More may arrive, and the client waits to be asked for it.
    Expected,
    /// Nothing more is read.
    Ended,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap, activity: &Arc<Activity>) -> Self {
        let state = if headers.contains_key(EXPECT) { BodyState::Expected } else { BodyState::Open };
        Self {
            incoming: Some(incoming),
            activity: Arc::clone(activity),
            is_pending: false,
            counted: 0,
            awaited: None,
            state,
        }
    }

    /// Ends the body by `error`, which strikes `bound`.
    fn refuse(&mut self, bound: Bound, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.activity.bounds().strike(bound);
        Poll::Ready(Some(Err(error)))
    }

    /// Waits for more, at most until the deadline.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let timeout = self.activity.bounds().settings.body_timeout();
        let awaited = self.awaited.get_or_insert_with(|| Awaited {
            deadline: Box::pin(tokio::time::sleep(timeout)),
            _guard: self.activity.await_body(),
        });
        ready!(awaited.deadline.as_mut().poll(context));
        self.state = BodyState::Ended;
        let timeout_ms = self.activity.bounds().settings.body_timeout_ms;
        self.refuse(Bound::BodyTime, BodyError::TimedOut { timeout_ms })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = &mut *self;
        let Some(incoming) = &mut body.incoming else { return Poll::Ready(None) };
        if incoming.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return body.refuse(Bound::BodyLength, BodyError::TooLong);
        }
        match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Pending => {
                body.is_pending = true;
                if body.state == BodyState::Expected {
                    body.state = BodyState::Open;
                }
                body.poll_deadline(context)
            }
            Poll::Ready(None) => {
                body.state = BodyState::Ended;
                // hyper ends a chunked body without an error when its connection is dropped.
                let is_cut = body.is_pending && body.activity.is_closing();
                body.awaited = None;
                Poll::Ready(is_cut.then_some(Err(BodyError::Cut)))
            }
            Poll::Ready(Some(Err(error))) => {
                body.state = BodyState::Ended;
                // Its client cancels the request, and the answer goes nowhere.
                body.activity.cancelled();
                Poll::Ready(Some(Err(BodyError::Connection(error))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                body.is_pending = false;
                let length = frame.data_ref().map_or(0, Bytes::len);
                // A body that arrives whole is parsed at once.
                if !incoming.is_end_stream() {
                    if !body.activity.bounds().body_bytes.take(length) {
                        return body.refuse(Bound::BodyBytes, BodyError::Busy);
                    }
                    body.counted += length;
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.activity.bounds().body_bytes.hand_back(self.counted);
        let is_open = self.state == BodyState::Open && !self.is_end_stream();
        if !is_open || self.activity.is_http2() || self.activity.is_closing() {
            return;
        }
        if let (Some(rest), Ok(runtime)) = (self.incoming.take(), Handle::try_current()) {
            runtime.spawn(discard(rest, Arc::clone(&self.activity)));
        }
    }
}

/// Reads the rest of a body that nobody wants.
async fn discard(mut body: Incoming, activity: Arc<Activity>) {
    let _awaited = activity.await_body();
    let rest = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DISCARDED_BYTES_MAX {
                break;
            }
        }
    };
    tokio::time::timeout(activity.bounds().settings.body_timeout(), rest).await.ok();
}
