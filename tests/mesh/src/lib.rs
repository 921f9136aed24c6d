//! A real mesh on one machine, without containers: etcd, kube-apiserver with Istio's and the Gateway
//! API's resources, the `EndpointSlice` controller, istiod with its CA and its validation webhook,
//! an OCI registry, and pods that are network namespaces with a greeter, a pilot-agent and a stock
//! Envoy in each.
//!
//! | Room | Question it answers |
//! |---|---|
//! | [`tools`] | where are the programs, and which versions are they? |
//! | [`net`] | how does a pod get a network of its own? |
//! | [`install`] | how is leastload installed? |
//! | [`kube`] | how do I change and read the cluster? |
//! | [`control`] | how do the API server and istiod start? |
//! | [`registry`] | where does the module come from? |
//! | [`pod`] | how do I start, stop, freeze a pod, and ask its proxy? |
//! | [`proxy`] | how does a pod's proxy start? |
//! | [`lab`] | all of it, up and down |
//! | [`kubelet`] | how do Deployments become pods? |
//! | [`user`] | how does somebody at a shell see it? |
//! | [`traffic`] | what do the callers in a pod see? |
//!
//! All processes live in namespaces that `scripts/test-mesh.sh` makes (network, mount, process ids),
//! so nothing can stay behind: the kernel ends what is in them with their first process.

pub mod control;
pub mod install;
pub mod kube;
pub mod kubelet;
pub mod lab;
pub mod net;
pub mod pod;
pub mod proxy;
pub mod registry;
pub mod tools;
pub mod traffic;
pub mod user;
