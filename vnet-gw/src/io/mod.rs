//! The worker's I/O engines: `gso` (tap and UDP sockets with segmentation offloads) and `xsk`
//! (AF_XDP), behind one trait.
