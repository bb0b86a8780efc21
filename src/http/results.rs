//! `/v1/results`: the result stream for services that speak HTTP only.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Caller;
use super::body::{Wait, query};
use super::failure::{Failure, Failures, in_time};
use super::shared::Gateway;
use super::shown::Ended;

/// The most results of one answer, and how many are given unless it is said.
const COUNT_MAX: usize = 1000;
const COUNT: usize = 100;

/// Where to read on.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// Results after this one: the last answer's `next`; without it, from the begin
    #[param(nullable = false, pattern = r"^[0-9]{1,19}(-[0-9]{1,19})?$")]
    after: Option<String>,
    /// At most so many, 1 to 1000
    #[param(nullable = false, minimum = 1, maximum = 1000)]
    count: Option<usize>,
}

/// Results in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Results {
    results: Vec<Ended>,
    /// Where to read on.
    next: String,
}

/// Results after one of them
#[utoipa::path(
    get, path = "/v1/results", tag = "results", params(From, Wait),
    responses((status = 200, description = "Results, perhaps none", body = Results), Failures)
)]
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Caller,
    asked: Result<Query<From>, QueryRejection>,
    waits: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<Results>, Failure> {
    let (From { after, count }, waits) = (query(asked)?, query(waits)?.time()?);
    let count = count.unwrap_or(COUNT);
    if !(1..=COUNT_MAX).contains(&count) {
        let message = format!("must be 1 to {COUNT_MAX}");
        return Err(Failure::malformed(message).of_field("count"));
    }
    let after = after.unwrap_or_else(|| "0-0".to_owned());
    if !is_entry_id(&after) {
        let message = "must be the id of a result, such as 1800000000000-0";
        return Err(Failure::malformed(message).of_field("after"));
    }
    let results = match waits {
        None => in_time(gateway.queue.results_page(&after, count)).await?,
        Some(waits) => {
            let until = gateway.no_longer_than(waits);
            let results = gateway.waiters.results(&after, count, until).await;
            results.map_err(|error| Failure::of_queue(&error))?
        }
    };
    let next = results.last().map_or(after.clone(), |last| last.entry_id.clone());
    Ok(Json(Results { results: results.iter().map(Ended::of).collect(), next }))
}

/// Whether it can be an entry's id. The greatest that Redis knows have a digit more: nothing can come
/// after the last of them, and Redis refuses to look.
fn is_entry_id(text: &str) -> bool {
    let is_number = |part: &str| {
        (1..=19).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('-') {
        Some((ms, sequence)) => is_number(ms) && is_number(sequence),
        None => is_number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::is_entry_id;

    #[test]
    fn an_entry_id_is_one_that_something_can_come_after() {
        for good in ["0-0", "0", "1800000000000-0", "9999999999999999999-9999999999999999999"] {
            assert!(is_entry_id(good), "{good}");
        }
        let last = format!("{0}-{0}", u64::MAX);
        for bad in ["", "-", "1-", "-1", "+1", "1-+1", "1-1-1", " 1", "$", "(1", last.as_str()] {
            assert!(!is_entry_id(bad), "{bad}");
        }
    }
}
