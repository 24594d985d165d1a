//! Answers and outcomes, there and back.

use super::*;

#[test]
fn an_answer_reads_back_to_the_outcome_that_wrote_it() {
    let key = LimitKey::parse("tenant:acme:llm:daily_tokens").expect("valid");
    let no_room = |retry_after_source| ReserveOutcome::NoRoom {
        key: key.clone(),
        retry_after_ms: 5,
        retry_after_source,
    };
    let outcomes = [
        ReserveOutcome::granted(7),
        ReserveOutcome::Granted { reserved_at_unix_ms: 7, would_deny: [key.clone()].into() },
        no_room(RetryAfterSource::Exact),
        no_room(RetryAfterSource::Estimate),
        ReserveOutcome::Decreasing { key: key.clone(), retry_after_ms: 10_000 },
        ReserveOutcome::ExceedsCapacity { key: key.clone() },
        ReserveOutcome::UnknownKey { key: key.clone() },
        ReserveOutcome::TooManyInstances { key: key.clone() },
        ReserveOutcome::LeaseConflict,
        ReserveOutcome::LeaseSettled,
        ReserveOutcome::LeaseExpired,
    ];
    for outcome in outcomes {
        assert_eq!(ReserveAnswer::from(outcome.clone()).into_outcome(), Ok(outcome));
    }
}

#[test]
fn an_answer_without_an_outcome_says_why() {
    let read = |error: &str| ReserveAnswer::failed(error).into_outcome();
    assert_eq!(read(BACKEND_ERROR), Err(AnswerError::Unknown));
    assert_eq!(read("invalid_request: no"), Err(AnswerError::Invalid("no".to_owned())));
    assert_eq!(read("novel"), Err(AnswerError::Unreadable("novel".to_owned())));
    assert_eq!(read(""), Err(AnswerError::Unreadable(String::new())), "a denial names its key");
}

#[test]
fn a_denial_of_an_earlier_service_is_an_estimate() {
    let text =
        r#"{"allowed":false,"retry_after_ms":5,"reserved_at_unix_ms":0,"error":"","limiting_key":"k"}"#;
    let answer: ReserveAnswer = serde_json::from_str(text).expect("an answer");
    let key = LimitKey::parse("k").expect("valid");
    let retry_after_source = RetryAfterSource::Estimate;
    let expected = ReserveOutcome::NoRoom { key, retry_after_ms: 5, retry_after_source };
    assert_eq!(answer.into_outcome(), Ok(expected));
}
