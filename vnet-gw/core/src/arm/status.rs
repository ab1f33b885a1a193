//! Which error is which HTTP status.

use crate::model::ArmError;

/// What is wrong with a request, where it is not simply 400.
const STATUSES: &[(&str, u16)] = &[
    ("InvalidAuthenticationToken", 401),
    ("ExpiredAuthenticationToken", 401),
    ("AuthenticationFailed", 401),
    ("AuthorizationFailed", 403),
    ("LinkedAuthorizationFailed", 403),
    ("DeploymentNotFound", 404),
    ("InvalidResourceNamespace", 404),
    ("InvalidResourceType", 404),
    ("NotFound", 404),
    ("ParentResourceNotFound", 404),
    ("ResourceGroupNotFound", 404),
    ("ResourceNotFound", 404),
    ("SubscriptionNotFound", 404),
    ("MethodNotAllowed", 405),
    ("Conflict", 409),
    ("DeploymentActive", 409),
    ("InvalidResourceGroupLocation", 409),
    ("InvalidResourceLocation", 409),
    ("PreconditionFailed", 412),
    ("RequestEntityTooLarge", 413),
    ("UnsupportedMediaType", 415),
    ("TooManyRequests", 429),
    ("InternalServerError", 500),
    ("ServiceUnavailable", 503),
];

/// The status that ARM answers an error with: 400 where nothing else is said. Of several errors,
/// that of all of them, where they agree.
pub fn status_of(error: &ArmError) -> u16 {
    let known = STATUSES
        .iter()
        .find(|(code, _)| *code == error.code)
        .map(|(_, status)| *status);
    let agreed = || {
        let mut statuses = error.details.iter().map(status_of);
        let first = statuses.next()?;
        statuses.all(|status| status == first).then_some(first)
    };
    known.or_else(agreed).unwrap_or(400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_status_of_its_code_or_of_its_details() {
        let error = |code: &str| ArmError::new(code, "");
        let several = |codes: &[&str]| ArmError {
            details: codes.iter().map(|code| error(code)).collect(),
            ..error("MultipleErrorsOccurred")
        };
        assert_eq!(status_of(&error("InvalidRequestFormat")), 400);
        assert_eq!(status_of(&error("ResourceNotFound")), 404);
        assert_eq!(status_of(&several(&["ResourceNotFound", "NotFound"])), 404);
        assert_eq!(
            status_of(&several(&["ResourceNotFound", "NotSupported"])),
            400
        );
        assert_eq!(status_of(&several(&[])), 400);
    }
}
