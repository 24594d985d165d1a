//! `POST /v1/extend`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::json::{Body, parse};
use super::reject::Reject;
use super::reserve::respond;
use super::{Api, record};
use crate::ledger::Ledger;
use crate::protocol::Extend;
use crate::protocol::ExtendBody;
use crate::server::metrics::Route;

/// `POST /v1/extend`
pub(super) async fn one<L: Ledger>(State(api): State<Arc<Api<L>>>, body: Body) -> Response {
    let _in_flight = api.metrics.request(Route::Extend);
    let command = match parse(body).and_then(|body: ExtendBody| body.into_command().map_err(Reject::Invalid))
    {
        Ok(command) => command,
        Err(reject) => return reject.into_response(),
    };
    match api.in_time(api.engine.limiter().extend(&command)).await {
        Ok(outcome) => {
            let Extend { lease, requirement, .. } = &command;
            record(*lease, "", std::iter::once(&requirement.key), &outcome);
            match outcome.answered() {
                Ok(outcome) => respond(outcome),
                Err(message) => Reject::Invalid(message).into_response(),
            }
        }
        Err(reject) => reject.into_reserve_response(),
    }
}
