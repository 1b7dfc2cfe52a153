//! Request bodies: JSON, at most a mebibyte, and here in time.

use std::sync::Arc;

use agentos_api::{Code, MAX_BODY_BYTES, Problem, parse};
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::problem::{Refusal, parse_problem};

/// The body of a request, parsed.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        check_media_type(&request)?;
        let limit = app.limits.now().request_time();
        let bytes = tokio::time::timeout(limit, read(request)).await.map_err(|_| {
            Problem::new(
                Code::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} s", limit.as_secs()),
            )
        })??;
        Ok(Self(parse::json(&bytes).map_err(|error| parse_problem(error, ""))?))
    }
}

fn check_media_type(request: &Request) -> Result<(), Problem> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
        .with_hint("send the header Content-Type: application/json"))
}

fn too_large() -> Problem {
    Problem::new(Code::TOO_LARGE, format!("the body is larger than {MAX_BODY_BYTES} bytes"))
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            Err(Problem::new(Code::MALFORMED_REQUEST, format!("the body did not arrive whole: {error}")))
        }
    }
}
