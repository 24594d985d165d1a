//! The body of a response, which holds the lease of its request.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response. It holds the lease of its request until it has ended, failed, or been dropped.
    pub struct LimitedBody<B> {
        #[pin]
        source: Source<B>,
        // A lease over any transport. Dropping it completes it in the background.
        lease: Option<Box<dyn Any + Send + Sync>>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B> {
        Service { #[pin] body: B },
        Answer { #[pin] body: Full<Bytes> },
    }
}

impl<B> LimitedBody<B> {
    pub(super) fn of_service(body: B, lease: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self { source: Source::Service { body }, lease }
    }

    pub(super) fn of_answer(body: Full<Bytes>) -> Self {
        Self { source: Source::Answer { body }, lease: None }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = match this.source.project() {
            SourceProjection::Service { body } => ready!(body.poll_frame(context)),
            SourceProjection::Answer { body } => {
                let never = |error: Infallible| match error {};
                ready!(body.poll_frame(context)).map(|frame| frame.map_err(never))
            }
        };
        if !matches!(frame, Some(Ok(_))) {
            *this.lease = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Service { body } => body.is_end_stream(),
            Source::Answer { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Service { body } => body.size_hint(),
            Source::Answer { body } => body.size_hint(),
        }
    }
}
