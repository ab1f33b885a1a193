//! Circles of appliances, told to whoever closes them.

use serde_json::{Value, json};

use super::{Bed, Told, network};

/// The addresses of two appliances, each in a subnet of its own.
const ADDRESSES: [&str; 2] = ["10.1.1.4", "10.1.2.4"];

fn route(to: &str, next: &str) -> Value {
    let properties = json!({
        "addressPrefix": to, "nextHopType": "VirtualAppliance", "nextHopIpAddress": next,
    });
    json!({"properties": properties})
}

fn subnet(prefix: &str, table: &str) -> Value {
    let table = json!({"id": network(&format!("routeTables/{table}"))});
    json!({"properties": {"addressPrefix": prefix, "routeTable": table}})
}

fn appliance(subnet: &str, address: &str, name: &str, forwards: bool) -> Value {
    let subnet = network(&format!("virtualNetworks/Vnet/subnets/{subnet}"));
    json!({
        "location": "westeurope",
        "tags": {"vnet-gw:device": name},
        "properties": {
            "enableIPForwarding": forwards,
            "ipConfigurations": [{"name": "one", "properties": {
                "subnet": {"id": subnet},
                "privateIPAllocationMethod": "Static", "privateIPAddress": address,
            }}],
        },
    })
}

/// Warnings of circles.
fn circles(told: &Told) -> Vec<String> {
    let all: Vec<String> = match told.header("x-vnet-gw-warnings") {
        "" => Vec::new(),
        text => serde_json::from_str(text).unwrap(),
    };
    let circle = |warning: &String| warning.contains("leads in a circle");
    all.into_iter().filter(circle).collect()
}

/// `a` sends what is for 10.9.0.0/16 to `b`, and `b`'s subnet has a table without routes.
async fn bed() -> Bed {
    let bed = Bed::with_group().await;
    for table in ["ta", "tb", "other"] {
        let path = network(&format!("routeTables/{table}"));
        bed.put(&path, json!({"location": "westeurope"}))
            .await
            .is(201);
    }
    bed.put(&network("virtualNetworks/Vnet"), super::vnet("10.1.0.0/16"))
        .await
        .is(201);
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        let prefix = format!("10.1.{}.0/24", at + 1);
        let path = network(&format!("virtualNetworks/Vnet/subnets/{name}"));
        let made = bed.put(&path, subnet(&prefix, &format!("t{name}"))).await;
        made.is(201);
        let nic = appliance(name, ADDRESSES[at], name, true);
        let path = network(&format!("networkInterfaces/{name}"));
        bed.put(&path, nic).await.is(201);
    }
    let path = network("routeTables/ta/routes/on");
    let made = bed.put(&path, route("10.9.0.0/16", ADDRESSES[1])).await;
    assert_eq!(circles(made.is(201)), Vec::<String>::new());
    bed
}

#[tokio::test]
async fn the_route_that_closes_a_circle_is_taken_with_a_warning() {
    let bed = bed().await;
    let back = network("routeTables/tb/routes/back");
    let closed = bed.put(&back, route("10.9.0.0/16", ADDRESSES[0])).await;
    let [warning] = &circles(closed.is(201))[..] else {
        panic!("{:?}", closed.headers);
    };
    assert!(warning.starts_with(&back), "{warning}");
    assert!(
        warning.contains("a → b → a") || warning.contains("b → a → b"),
        "{warning}"
    );

    // Whatever has to do with it tells it again; what has not, does not.
    let subnet_b = network("virtualNetworks/Vnet/subnets/b");
    let again = bed.put(&subnet_b, subnet("10.1.2.0/24", "tb")).await;
    assert_eq!(circles(again.is(200)).len(), 1);
    let nic = appliance("b", ADDRESSES[1], "b", true);
    let again = bed.put(&network("networkInterfaces/b"), nic).await;
    assert_eq!(circles(again.is(200)).len(), 1);
    let other = network("routeTables/other/routes/x");
    let other = bed.put(&other, route("10.8.0.0/16", ADDRESSES[0])).await;
    assert_eq!(circles(other.is(201)), Vec::<String>::new());

    // Neither is a route that leads on.
    let open = bed.put(&back, route("10.7.0.0/16", ADDRESSES[0])).await;
    assert_eq!(circles(open.is(200)), Vec::<String>::new());
}

#[tokio::test]
async fn a_subnet_or_an_appliance_closes_one_too() {
    let bed = bed().await;
    bed.put(
        &network("routeTables/other/routes/back"),
        route("10.9.0.0/16", ADDRESSES[0]),
    )
    .await
    .is(201);
    let path = network("virtualNetworks/Vnet/subnets/b");
    let closed = bed.put(&path, subnet("10.1.2.0/24", "other")).await;
    assert_eq!(circles(closed.is(200)).len(), 1);

    let path = network("networkInterfaces/b");
    let set = async |forwards| {
        let told = bed.put(&path, appliance("b", ADDRESSES[1], "b", forwards));
        circles(told.await.is(200)).len()
    };
    assert_eq!(set(false).await, 0);
    assert_eq!(set(true).await, 1);
}
