//! One connection: a task, HTTP/1.1 with keep-alive, and limits to how long anything may take.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Uri, uri::PathAndQuery},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    patient::Patient,
    places::{Place, Places},
};
use crate::{api::Peer, identity};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the next request may let wait for itself and its headers.
const HEADERS: Duration = Duration::from_secs(60);
/// How long a client may take none of an answer.
const UNREAD: Duration = Duration::from_secs(30);
/// The longest headers.
const BUFFER: usize = 32 * 1024;
const MOST_HEADERS: usize = 100;

pub(super) async fn accept_tls(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    places: Places,
    mut ended: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over(&mut ended) => return,
        };
        let Some((stream, from)) = keep(accepted).await else {
            continue;
        };
        let Some(place) = places.take(&from.ip().to_string()) else {
            log::warn!("api: {from}: every connection is being served; this one is not");
            continue;
        };
        // An answer is one write; it must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(Arc::clone(&tls));
        let (router, ended) = (router.clone(), ended.clone());
        tokio::spawn(async move {
            let secured = tokio::select! {
                secured = timeout(HANDSHAKE, acceptor.accept(stream)) => secured,
                () = place.needed() => return,
            };
            match secured {
                Ok(Ok(stream)) => serve(stream, Peer::Network(from), router, ended, place).await,
                Ok(Err(error)) => log::debug!("api: {from}: TLS: {error}"),
                Err(_) => log::debug!("api: {from}: TLS: no handshake"),
            }
        });
    }
}

pub(super) async fn accept_local(
    listener: UnixListener,
    router: Router,
    places: Places,
    mut ended: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over(&mut ended) => return,
        };
        let Some((stream, _)) = keep(accepted).await else {
            continue;
        };
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => {
                log::warn!("api: the other end of the socket: {error}");
                continue;
            }
        };
        let Some(place) = places.take(&uid.to_string()) else {
            log::warn!("api: user {uid}: every connection is being served; this one is not");
            continue;
        };
        let (router, ended) = (router.clone(), ended.clone());
        tokio::spawn(async move {
            match user(uid).await {
                Ok(peer) => serve(stream, peer, router, ended, place).await,
                Err(error) => log::warn!("api: user {uid}: {error}"),
            }
        });
    }
}

/// Until the API ends. Its other end going means the same.
async fn over(ended: &mut watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

/// What was accepted; a pause where nothing could be.
async fn keep<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            log::warn!("api: {error}");
            // Out of descriptors, most likely: some may be closed meanwhile.
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Who is at the other end, as the kernel says.
async fn user(uid: u32) -> io::Result<Peer> {
    // Looks into /etc/passwd, or wherever the system keeps names.
    let known = spawn_blocking(move || identity::local_user(uid)).await;
    let (who, access) = known.map_err(io::Error::other)?;
    Ok(Peer::Local(who, access))
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    mut ended: watch::Receiver<bool>,
    place: Place,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (router, peer, busy) = (router.clone(), peer.clone(), place.busy());
        async move {
            let answered = answer(router, peer, request).await;
            drop(busy);
            answered
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(BUFFER)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(Patient::new(stream, UNREAD)), service)
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = over(&mut ended) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.needed() => return,
    };
    if let Err(error) = served {
        log::debug!("api: connection: {error}");
    }
}

async fn answer(
    router: Router,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let mut request = request.map(Body::new);
    if let Some(uri) = collapsed(request.uri()) {
        *request.uri_mut() = uri;
    }
    if let Peer::Network(from) = peer {
        request
            .extensions_mut()
            .insert(ConnectInfo::<SocketAddr>(from));
    }
    request.extensions_mut().insert(peer);
    router.oneshot(request).await
}

/// Clients make two slashes where a base URL ends with one.
fn collapsed(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") {
        return None;
    }
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let mut parts = uri.clone().into_parts();
    let text = format!("/{}{query}", segments.join("/"));
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn double_slashes_become_one() {
        for (uri, becomes) in [
            (
                "//metadata/endpoints?a=1//2",
                Some("/metadata/endpoints?a=1//2"),
            ),
            ("/a//b/", Some("/a/b")),
            ("/a/b", None),
            ("*", None),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(
                collapsed(&uri).map(|uri| uri.to_string()).as_deref(),
                becomes
            );
        }
    }
}
