//! The body of an answer until its client has read it: counted, and withheld if unread answers hold too much.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use hyper::Response;
use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};

use super::activity::{Activity, UnreadAnswer};
use super::bounds::Bound;
use crate::server::api;

/// Shorter answers are not counted. A connection holds few of them.
const COUNTED_BYTES_MIN: usize = 4 * 1024;
/// Shorter answers are never withheld: the outcome of a batch is worth its room.
const WITHHELD_BYTES_MIN: usize = 64 * 1024;

/// The body of an answer.
pub(super) struct AnswerBody {
    body: AxumBody,
    unread: Option<Unread>,
}

/// A part of an answer, with what is handed back when it is written.
pub(super) struct AnswerBytes {
    bytes: Bytes,
    _unread: Option<Unread>,
}

struct Unread {
    answer: UnreadAnswer,
    counted: usize,
}

/// The answer, or a refusal if there is no room for it.
pub(super) fn counted(answer: Response<AxumBody>, activity: &Arc<Activity>) -> Response<AnswerBody> {
    let length = usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX);
    let budget = &activity.bounds().answer_bytes;
    if length < COUNTED_BYTES_MIN {
        let unread = (length > 0).then(|| Unread { answer: activity.unread_answer(), counted: 0 });
        return answer.map(|body| AnswerBody { body, unread });
    }
    if length < WITHHELD_BYTES_MIN {
        budget.take_anyway(length);
    } else if !budget.take(length) {
        activity.bounds().strike(Bound::AnswerBytes);
        return counted(api::too_much_unread(), activity);
    }
    let unread = Some(Unread { answer: activity.unread_answer(), counted: length });
    answer.map(|body| AnswerBody { body, unread })
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.answer.bounds().answer_bytes.hand_back(self.counted);
    }
}

impl Body for AnswerBody {
    type Data = AnswerBytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<AnswerBytes>, axum::Error>>> {
        let answer = &mut *self;
        Pin::new(&mut answer.body).poll_frame(context).map_ok(|frame| {
            // The last part takes the count along. Every answer of this service has one part.
            let unread = if answer.body.is_end_stream() { answer.unread.take() } else { None };
            frame.map_data(|bytes| AnswerBytes { bytes, _unread: unread })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Buf for AnswerBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
