/// What one thread makes, another often throws away: the API's requests, states that the engine
/// replaces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    vnet_gw::cli::main()
}
