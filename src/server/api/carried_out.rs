//! Carries out a request that was read, even if its connection ends.
//!
//! A client that sends a complete and hangs up wants its slot released. A server drops the future of a handler together
//! with its connection, at whatever point it is.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::handler::Handler;
use tokio::runtime::Handle;

tokio::task_local! {
    /// Set while the rest of a handler runs whose connection has ended.
    static HUNG_UP: ();
}

/// Ends when the connection of the request has ended, for handlers that wait for longer than an answer takes.
pub(super) async fn hung_up() {
    let poll = |_: &mut Context<'_>| match HUNG_UP.try_with(|()| ()) {
        Ok(()) => Poll::Ready(()),
        // The drop of the handler polls this again.
        Err(_) => Poll::Pending,
    };
    poll_fn(poll).await;
}

/// A handler that runs to its end, once it was called. [`Metrics::request`](crate::server::Metrics) counts it until
/// then, so that a stop waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CarriedOut<H>(H);

/// Makes `handler` run to its end.
pub(super) fn carried_out<H>(handler: H) -> CarriedOut<H> {
    CarriedOut(handler)
}

impl<H: Handler<T, S>, T, S> Handler<T, S> for CarriedOut<H>
where
    H::Future: Unpin,
{
    type Future = ToItsEnd<H::Future>;

    fn call(self, request: Request, state: S) -> Self::Future {
        ToItsEnd(Some(self.0.call(request, state)))
    }
}

/// A future whose rest becomes a task of its own if it is dropped before its end. Until then it costs nothing: the
/// future of a handler is in a box already.
pub(in crate::server) struct ToItsEnd<F: Future<Output: Send> + Send + Unpin + 'static>(Option<F>);

#[cfg(feature = "grpc")]
impl<F: Future<Output: Send> + Send + Unpin + 'static> ToItsEnd<F> {
    pub(in crate::server) fn new(future: F) -> Self {
        Self(Some(future))
    }
}

impl<F: Future<Output: Send> + Send + Unpin + 'static> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // A future is not polled again after its end.
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = Pin::new(future).poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + Unpin + 'static> Drop for ToItsEnd<F> {
    fn drop(&mut self) {
        // Without a runtime, nothing runs.
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(HUNG_UP.scope((), rest));
        }
    }
}
