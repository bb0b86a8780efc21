//! `/v1/jobs`: enqueueing, asking and cancelling (docs/contract.md, section 8).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::access::Caller;
use super::body::{Wait, query, read};
use super::failure::{BodyFailures, Failure, Failures, in_time};
use super::schemas::{ClientRequestId, Job};
use super::shared::Gateway;
use super::shown::{Ended, Record, Shown};
use crate::job::{Entry, EntryFields, JobId, Request, State as JobState};
use crate::queue::{ADMIT_BATCH, Admission, Awaited, JobResult, Operated};

/// The most jobs of one array.
const ARRAY_MAX: usize = 1000;
/// Jobs of an array that are enqueued in one go: two batches, of which one is admitted while the other
/// is put together.
const ARRAY_PART: usize = 2 * ADMIT_BATCH;

/// What became of one job that was brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Enqueued {
    /// Its id; null if none could be read.
    #[schema(required)]
    client_request_id: Option<String>,
    status: Status,
    /// Why it was not accepted.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// It is on the queue.
    Accepted,
    /// The same was accepted before.
    Duplicate,
    /// Something else was accepted under its id before.
    Conflict,
    /// It is no valid request.
    Rejected,
}

/// Where in the answer for one job the job's identity stands.
const ITS_ID: &str = "$response.body#/client-request-id";

const CONFLICT: &str = "another body was accepted under this id";

/// Which job.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The job's identity
    #[param(value_type = ClientRequestId)]
    id: String,
}

/// What `POST /v1/jobs` takes.
pub(super) struct Brought;

impl ToSchema for Brought {}

impl PartialSchema for Brought {
    fn schema() -> RefOr<Schema> {
        let job = || Ref::from_schema_name(Job::name());
        let jobs = ArrayBuilder::new().items(job()).min_items(Some(1)).max_items(Some(ARRAY_MAX));
        OneOfBuilder::new().item(job()).item(jobs).into()
    }
}

/// What became of one job, or of each in its order
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Answer {
    One(Enqueued),
    Many(Vec<Enqueued>),
}

/// Enqueues a job, or up to 1,000
///
/// With `wait`, which is for a single one, it answers with the result. In an array each job that is not
/// valid is rejected alone. Any Content-Type will do.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", params(Wait), request_body = Brought,
    responses(
        (status = 200, description = "With `wait`: the job has ended", body = Ended),
        (status = 202, description = "What became of it", body = Answer, links(
            ("show" = (operation_id = "show", parameters(("id" = ITS_ID)))),
            ("show_by_query" = (operation_id = "show_by_query", parameters(("id" = ITS_ID)))),
            ("cancel" = (operation_id = "cancel", parameters(("id" = ITS_ID)))),
            ("cancel_by_query" = (operation_id = "cancel_by_query", parameters(("id" = ITS_ID)))),
        )),
        (status = 409, description = "Another body was accepted under this id", body = Failure),
        Failures, BodyFailures,
    )
)]
pub(super) async fn enqueue(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    asked: Result<Query<Wait>, QueryRejection>,
    body: Body,
) -> Result<Response, Failure> {
    let waits = query(asked)?.time()?;
    let body = read(body).await?;
    if body.first() == Some(&b'[') {
        if waits.is_some() {
            let message = "wait is for a single job";
            return Err(Failure::malformed(message).of_field("wait"));
        }
        return enqueue_all(&gateway, caller, &body).await;
    }
    let (request, fields) =
        gateway.read(&body, &caller).map_err(|it| Failure::invalid_job(&it.1))?;
    let id = request.id().clone();
    let admission = in_time(gateway.admissions.enqueue((request, fields))).await?;
    if admission == Admission::Conflict {
        let failure = Failure::new(StatusCode::CONFLICT, "conflict", CONFLICT);
        return Err(failure.of_field("client-request-id"));
    }
    let awaited = match waits {
        Some(waits) => Some(gateway.ended(&id, waits).await?),
        None => None,
    };
    Ok(match awaited {
        Some(Awaited::Ended(result)) => Json(Ended::of(&result)).into_response(),
        _ => {
            (StatusCode::ACCEPTED, Json(Answer::One(Enqueued::of(&id, admission)))).into_response()
        }
    })
}

async fn enqueue_all(gateway: &Gateway, caller: Caller, body: &[u8]) -> Result<Response, Failure> {
    let items: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| Failure::malformed(format!("no JSON array: {error}")))?;
    if items.is_empty() || items.len() > ARRAY_MAX {
        let message = format!("an array must hold 1 to {ARRAY_MAX} jobs");
        return Err(Failure::malformed(message));
    }
    let mut jobs = Vec::with_capacity(items.len());
    // In the array's place of each: its id, or what it was refused for.
    let mut places: Vec<Result<JobId, Enqueued>> = Vec::with_capacity(items.len());
    let mut first_fault = None;
    for item in items {
        match gateway.read(item.get().as_bytes(), &caller) {
            Ok((request, fields)) => {
                places.push(Ok(request.id().clone()));
                jobs.push((request, fields));
            }
            Err((id, problems)) => {
                let error = Some(problems.to_string());
                let client_request_id = id.map(|id| id.to_string());
                places.push(Err(Enqueued { client_request_id, status: Status::Rejected, error }));
                first_fault.get_or_insert(problems);
            }
        }
    }
    if let (true, Some(first)) = (jobs.is_empty(), first_fault) {
        return Err(Failure::invalid_job(&first));
    }
    let mut admissions = Vec::with_capacity(jobs.len());
    // Redis must answer each part in time: all of them may take longer where many bring arrays.
    for part in jobs.chunks(ARRAY_PART) {
        admissions.extend(in_time(gateway.queue.enqueue_many(part)).await?);
    }
    let mut admissions = admissions.into_iter();
    let answers = places
        .into_iter()
        .map(|place| match place {
            Ok(id) => Enqueued::of(&id, admissions.next().unwrap_or(Admission::Rejected)),
            Err(refused) => refused,
        })
        .collect();
    Ok((StatusCode::ACCEPTED, Json(Answer::Many(answers))).into_response())
}

impl Enqueued {
    fn of(id: &JobId, admission: Admission) -> Self {
        let (status, error) = match admission {
            Admission::Leased | Admission::Waiting => (Status::Accepted, None),
            Admission::Duplicate => (Status::Duplicate, None),
            Admission::Conflict => (Status::Conflict, Some(CONFLICT.to_owned())),
            Admission::Rejected => (Status::Rejected, None),
        };
        Self { client_request_id: Some(id.to_string()), status, error }
    }
}

impl Gateway {
    /// Reads a request or an envelope; what is wrong with it, and its id if that could be read.
    fn read(
        &self,
        json: &[u8],
        caller: &Caller,
    ) -> Result<(Request, EntryFields), (Option<JobId>, crate::job::Problems)> {
        let Entry { id, request, fields, .. } = Entry::read_json(json, self.unknown_fields);
        let request = request.map_err(|problems| (id, problems))?;
        Ok((request, EntryFields { by: caller.0.clone(), ..fields }))
    }
}

/// The job's record; with `wait`, its result when it has ended
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs",
    params(("id" = ClientRequestId, Path, description = "The job's identity"), Wait),
    responses(
        (status = 200, description = "The record; with `wait`, the result", body = Shown),
        (status = 202, description = "With `wait`: the record of a job that lives", body = Record),
        Failures,
    )
)]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Caller,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<Wait>, QueryRejection>,
) -> Result<Response, Failure> {
    show_job(&gateway, &in_path(id)?, &query(asked)?).await
}

/// The same, for ids that fit no path well
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(Which, Wait),
    responses(
        (status = 200, description = "The record; with `wait`, the result", body = Shown),
        (status = 202, description = "With `wait`: the record of a job that lives", body = Record),
        Failures,
    )
)]
pub(super) async fn show_by_query(
    State(gateway): State<Arc<Gateway>>,
    _: Caller,
    which: Result<Query<Which>, QueryRejection>,
    asked: Result<Query<Wait>, QueryRejection>,
) -> Result<Response, Failure> {
    show_job(&gateway, &query(which)?.id, &query(asked)?).await
}

async fn show_job(gateway: &Gateway, id: &str, wait: &Wait) -> Result<Response, Failure> {
    let (id, waits) = (job_id(id)?, wait.time()?);
    let Some(waits) = waits else {
        let record = in_time(gateway.queue.record(&id)).await?.ok_or_else(Failure::unknown_job)?;
        return Ok(Json(Record::of(&id, &record)).into_response());
    };
    match gateway.ended(&id, waits).await? {
        Awaited::Ended(result) => Ok(Json(Ended::of(&result)).into_response()),
        Awaited::Lives(record) => {
            Ok((StatusCode::ACCEPTED, Json(Record::of(&id, &record))).into_response())
        }
        Awaited::Unknown => Err(Failure::unknown_job()),
    }
}

/// Ends a live job at once; what was sent may still be made and billed
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs",
    params(("id" = ClientRequestId, Path, description = "The job's identity")),
    responses(
        (status = 200, description = "It is cancelled", body = Cancelled),
        (status = 409, description = "It had ended before", body = Failure),
        Failures,
    )
)]
pub(super) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Cancelled>, Failure> {
    cancel_job(&gateway, &caller, &in_path(id)?).await
}

/// The same, for ids that fit no path well
#[utoipa::path(
    delete, path = "/v1/jobs", tag = "jobs", params(Which),
    responses(
        (status = 200, description = "It is cancelled", body = Cancelled),
        (status = 409, description = "It had ended before", body = Failure),
        Failures,
    )
)]
pub(super) async fn cancel_by_query(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Cancelled>, Failure> {
    cancel_job(&gateway, &caller, &query(which)?.id).await
}

/// A job that was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Cancelled {
    client_request_id: String,
    /// `cancelled`
    status: &'static str,
    revision: u64,
}

async fn cancel_job(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> Result<Json<Cancelled>, Failure> {
    let ids = [job_id(id)?];
    let record = in_time(gateway.queue.record(&ids[0])).await?.ok_or_else(Failure::unknown_job)?;
    // To the queue, cancelling twice is no fault: a call whose answer was lost is made again.
    if JobResult::of(&ids[0], &record).is_some() {
        let message = format!("it has ended: {}", record.state());
        return Err(Failure::new(StatusCode::CONFLICT, "ended", message));
    }
    let answers = in_time(gateway.queue.cancel(&ids, caller.0.as_deref())).await?;
    match answers.into_iter().next() {
        Some(Operated::Done { revision, .. }) => Ok(Json(Cancelled {
            client_request_id: id.to_owned(),
            status: JobState::Cancelled.as_str(),
            revision,
        })),
        Some(Operated::Refused(why)) => Err(Failure::new(StatusCode::CONFLICT, "ended", why)),
        Some(Operated::Gone) | None => Err(Failure::unknown_job()),
    }
}

fn in_path(id: Result<Path<String>, PathRejection>) -> Result<String, Failure> {
    id.map(|Path(id)| id).map_err(|error| Failure::malformed(error.body_text()).of_field("id"))
}

fn job_id(id: &str) -> Result<JobId, Failure> {
    JobId::new(id).map_err(|why| Failure::malformed(why.to_string()).of_field("id"))
}
