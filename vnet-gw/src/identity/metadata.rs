//! `/metadata/endpoints`: what a client needs to know of a cloud before it signs in.

use serde_json::{Value, json};

/// For any api-version from 2022-09-01 on; before, ARM answered a list.
pub(super) fn endpoints(base: &str, tenant: &str) -> Value {
    json!({
        "name": "vnet-gw",
        "resourceManager": base,
        "authentication": {
            "loginEndpoint": base,
            "audiences": [base],
            "tenant": tenant,
            "identityProvider": "AAD",
        },
        "suffixes": {},
    })
}

/// OpenID Connect Discovery 1.0, section 3.
pub(super) fn openid_configuration(base: &str, tenant: &str) -> Value {
    json!({
        "issuer": format!("{base}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "scopes_supported": [".default"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}
