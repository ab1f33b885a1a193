//! Signing in over the router, as the clients do.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::store::MemoryStore;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

struct Bed {
    _scratch: tempfile::TempDir,
    store: Arc<MemoryStore>,
    identity: Arc<Identity>,
    router: Router,
}

impl Bed {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new());
        let identity = Identity::open(scratch.path(), Arc::clone(&store) as _).unwrap();
        let identity = Arc::new(identity);
        Self {
            router: router(Arc::clone(&identity)),
            _scratch: scratch,
            store,
            identity,
        }
    }

    fn reader(&self) -> NewSecret {
        let role = Assignment::new(Role::Reader, "/subscriptions/s").unwrap();
        let principals = self.identity.principals();
        principals.create("reader", vec![role], YEAR).unwrap()
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header("host", "gw.example:8443");
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    async fn token(&self, form: &str) -> (StatusCode, Value) {
        let path = format!("/{}/oauth2/v2.0/token", self.identity.tenant());
        let request = Request::post(path)
            .header("host", "gw.example:8443")
            .header("content-type", "application/x-www-form-urlencoded");
        self.ask(request.body(Body::from(form.to_owned())).unwrap())
            .await
    }

    fn bearer(&self, token: &str) -> Result<(Who, Access), Denied> {
        let from = "192.0.2.7:1".parse().unwrap();
        self.identity.bearer(token, from)
    }
}

fn form(client: &str, secret: &str) -> String {
    format!(
        "client_id={client}&grant_type=client_credentials&client_info=1&client_secret={secret}\
         &scope=https%3A%2F%2Fgw.example%3A8443%2F.default"
    )
}

#[tokio::test]
async fn a_principal_signs_in_and_its_token_is_taken() {
    let bed = Bed::new();
    let new = bed.reader();
    let (_, cloud) = bed.get("/metadata/endpoints?api-version=2022-09-01").await;
    assert_eq!(cloud["resourceManager"], "https://gw.example:8443");
    assert_eq!(
        cloud["authentication"]["audiences"][0],
        "https://gw.example:8443"
    );
    assert_eq!(cloud["suffixes"], serde_json::json!({}));
    let tenant = bed.identity.tenant();
    let (_, oidc) = bed
        .get(&format!("/{tenant}/v2.0/.well-known/openid-configuration"))
        .await;
    assert_eq!(
        oidc["token_endpoint"],
        format!("https://gw.example:8443/{tenant}/oauth2/v2.0/token")
    );
    let (_, keys) = bed.get(&format!("/{tenant}/discovery/v2.0/keys")).await;
    assert_eq!(keys["keys"][0]["crv"], "P-256");

    let client = &new.principal.client_id;
    let (status, answer) = bed.token(&form(client, &new.secret)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["token_type"], "Bearer");
    let token = answer["access_token"].as_str().unwrap();
    let (who, access) = bed.bearer(token).unwrap();
    let Who::Principal { client_id, name } = who else {
        panic!("{who:?}");
    };
    assert_eq!((&client_id, name.as_str()), (client, "reader"));
    assert!(access.allows(Permission::Read, "/subscriptions/s/resourceGroups/g"));
    assert!(!access.allows(Permission::Write, "/subscriptions/s/resourceGroups/g"));

    // What is taken away is gone at once.
    bed.identity.principals().delete("reader").unwrap();
    assert_eq!(bed.bearer(token).unwrap_err().status, 401);
}

#[tokio::test]
async fn wrong_credentials_are_refused_alike_and_limited() {
    let bed = Bed::new();
    let new = bed.reader();
    let client = new.principal.client_id.clone();
    let (status, wrong) = bed.token(&form(&client, "wrong")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong["error"], "invalid_client");
    let nobody = Uuid::new_v4().to_string();
    let (status, unknown) = bed.token(&form(&nobody, "wrong")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let text = |answer: &Value| answer["error_description"].as_str().unwrap().to_owned();
    assert_eq!(
        text(&wrong).replace(&client, "X"),
        text(&unknown).replace(&nobody, "X")
    );
    for _ in 0..4 {
        bed.token(&form(&client, "wrong")).await;
    }
    let (status, _) = bed.token(&form(&client, &new.secret)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn what_is_no_sign_in_is_told() {
    let bed = Bed::new();
    let new = bed.reader();
    let good = form(&new.principal.client_id, &new.secret);
    for (form, error) in [
        ("", "unsupported_grant_type"),
        ("%%%", "unsupported_grant_type"),
        (
            "grant_type=password&username=a&password=b",
            "unsupported_grant_type",
        ),
        ("grant_type=client_credentials", "invalid_request"),
        (
            &good.replace("gw.example", "graph.example"),
            "invalid_scope",
        ),
        (
            "grant_type=client_credentials&client_id=a&client_assertion=b",
            "invalid_request",
        ),
    ] {
        let (status, answer) = bed.token(form).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{form}");
        assert_eq!(answer["error"], error, "{form}");
    }
    let (status, answer) = bed
        .get("/other/v2.0/.well-known/openid-configuration")
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"], "invalid_tenant");
    let request = Request::post(format!("/{}/oauth2/token", bed.identity.tenant()));
    let request = request.header("content-type", "application/json");
    let (status, _) = bed.ask(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = bed.token(&"x".repeat(100_000)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[test]
fn principals_outlive_the_daemon_and_secrets_are_only_hashes() {
    let bed = Bed::new();
    let new = bed.reader();
    let records = bed.store.scan(Table::Principals, "", 10).unwrap();
    assert_eq!(records.len(), 1);
    for (_, value) in records {
        let text = String::from_utf8_lossy(&value);
        assert!(!text.contains(new.secret.as_str()));
    }
    let again = Principals::open(Arc::clone(&bed.store) as _).unwrap();
    assert_eq!(again.list(), std::slice::from_ref(&new.principal));
    let now = SystemTime::now();
    let id = &new.principal.client_id;
    assert!(again.check(id, &new.secret, now).is_some());
    assert!(again.check(&id.to_uppercase(), &new.secret, now).is_some());
    assert!(
        again.check(id, &new.secret, now + YEAR).is_none(),
        "expired"
    );

    let other = again.reset("reader", YEAR).unwrap();
    assert!(again.check(id, &new.secret, now).is_none());
    assert!(again.check(id, &other.secret, now).is_some());
    assert!(matches!(
        again.create("reader", Vec::new(), YEAR),
        Err(PrincipalError::Exists(_))
    ));
    assert!(matches!(again.find("x"), Err(PrincipalError::Unknown(_))));
    for bad in [
        "",
        " a",
        "a\n",
        &"x".repeat(121),
        &Uuid::new_v4().to_string(),
    ] {
        assert!(matches!(
            again.create(bad, Vec::new(), YEAR),
            Err(PrincipalError::Name(_))
        ));
    }
    let role = Assignment::new(Role::NetworkContributor, "/subscriptions/S").unwrap();
    assert_eq!(
        again
            .assign("reader", role.clone())
            .unwrap()
            .assignments
            .len(),
        2
    );
    let again = again.unassign("reader", &role).unwrap();
    assert_eq!(again.assignments.len(), 1);
}

async fn admin_ask(bed: &Bed, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/vnet-gw/principals{path}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = admin(Arc::clone(&bed.identity)).oneshot(request).await;
    let response = response.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn principals_are_made_and_changed_by_the_administrator() {
    use serde_json::json;
    let bed = Bed::new();
    let new = json!({
        "displayName": "deploy",
        "assignments": [{"role": "Network Contributor", "scope": "/subscriptions/s"}],
        "lifetimeSeconds": 3600,
    });
    let (status, made) = admin_ask(&bed, "POST", "", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (id, secret) = (
        made["appId"].as_str().unwrap(),
        made["password"].as_str().unwrap(),
    );
    assert!(bed.identity.sign_in(id, secret, None).is_ok());
    let (status, error) = admin_ask(&bed, "POST", "", new).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(error["error"]["code"], "PrincipalExists");

    let reader = json!({"role": "Reader", "scope": "/subscriptions/s/resourceGroups/g"});
    let (_, changed) = admin_ask(&bed, "POST", "/deploy/assign", reader.clone()).await;
    assert_eq!(changed["assignments"].as_array().unwrap().len(), 2);
    assert_eq!(changed.get("password"), None);
    let (_, changed) = admin_ask(&bed, "POST", &format!("/{id}/unassign"), reader).await;
    assert_eq!(changed["assignments"].as_array().unwrap().len(), 1);
    let (_, all) = admin_ask(&bed, "GET", "", Value::Null).await;
    assert_eq!(all["value"][0]["displayName"], "deploy");
    assert_eq!(all["value"][0].get("password"), None);

    let (_, renewed) = admin_ask(&bed, "POST", "/deploy/reset", json!({})).await;
    let renewed = renewed["password"].as_str().unwrap();
    assert!(bed.identity.sign_in(id, secret, None).is_err());
    assert!(bed.identity.sign_in(id, renewed, None).is_ok());
    for (method, path, body, expected) in [
        ("POST", "", json!({"name": "x"}), 422),
        ("POST", "", json!({"displayName": ""}), 400),
        (
            "POST",
            "/deploy/assign",
            json!({"role": "Owner", "scope": "/"}),
            422,
        ),
        (
            "POST",
            "/deploy/assign",
            json!({"role": "Reader", "scope": "/"}),
            400,
        ),
        ("POST", "/nobody/reset", json!({}), 404),
        ("DELETE", "/nobody", json!({}), 404),
        ("DELETE", "/deploy", json!({}), 200),
        ("DELETE", "/deploy", json!({}), 404),
    ] {
        let (status, answer) = admin_ask(&bed, method, path, body).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {answer}");
    }
}
