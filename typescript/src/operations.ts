// The operations, one method each, as the engine declares them. Names of fields are those of every face of pyro;
// moments are texts in RFC 3339, byte strings are in base64.
//
// This file is generated: go run ./tools/clients.

import type { CallOptions, FollowOptions, ProgressOptions, StreamOptions } from "./options.js";

/** The parameters that are paths on this host. */
export const hostPaths = ["source_path", "host_path"];

/** PullProgress is a moment of a pull. Totals are 0 while unknown. Packages are layers if the
 * environment is an image. */
export interface PullProgress {
  phase: string;
  detail?: string | undefined;
  bytes_done: number;
  bytes_total: number;
  packages_done: number;
  packages_total: number;
}

/** Output is how a command ended, and what it wrote. Stdout and Stderr hold at most OutputLimit bytes
 * each: the beginning and the end, with a mark between them that counts what is left out. */
export interface Output {
  exit_code: number;
  stdout: string;
  stderr: string;
  stdout_truncated?: boolean | undefined;
  stderr_truncated?: boolean | undefined;
  timed_out?: boolean | undefined;
  duration_ms: number;
  execution_mode: "guest" | "host_compat";
  stdout_base64?: string | undefined;
  stderr_base64?: string | undefined;
  shell?: string | undefined;
  notice?: string | undefined;
  cause?: string | undefined;
}

/** LogEntry is one command of a task's history. Interrupted says that the guest, or the caller, went
 * before the command had ended; Cause says which. */
export interface LogEntry extends Output {
  sequence: number;
  cwd: string;
  command: string;
  started_at: string;
  running?: boolean | undefined;
  interrupted?: boolean | undefined;
}

/** EnvironmentListing is one row of the catalog. */
export interface EnvironmentListing {
  name: string;
  version: string;
  description: string;
  installed: boolean;
  problem?: string | undefined;
}

/** ListEnvironmentsResult is the catalog, and what else is installed. */
export interface ListEnvironmentsResult {
  environments: Array<EnvironmentListing>;
}

/** PullPhase is one phase of a finished pull. */
export interface PullPhase {
  name: string;
  duration_ms: number;
}

/** EnvironmentPackage is one package of an environment. */
export interface EnvironmentPackage {
  name: string;
  version: string;
  architecture: string;
  sha256: string;
  size: number;
}

/** EnvironmentLayer is one layer of the image that an environment was made of. */
export interface EnvironmentLayer {
  media_type: string;
  sha256: string;
  size: number;
}

/** EnvironmentConfig is what an image says about how to run commands in it. */
export interface EnvironmentConfig {
  env?: Array<string> | undefined;
  user?: string | undefined;
  work_dir?: string | undefined;
  entrypoint?: Array<string> | undefined;
  cmd?: Array<string> | undefined;
}

/** EnvironmentManifest says what an installed environment is made of. Sizes are in bytes. */
export interface EnvironmentManifest {
  name: string;
  version: string;
  description: string;
  source: string;
  origin: string;
  architecture: string;
  created_at: string;
  image_path: string;
  image_sha256: string;
  image_bytes: number;
  kernel_version: string;
  kernel_path: string;
  kernel_sha256: string;
  downloaded_bytes: number;
  disk_bytes: number;
  packages: Array<EnvironmentPackage>;
  layers?: Array<EnvironmentLayer> | undefined;
  config?: EnvironmentConfig | undefined;
}

/** PullEnvironmentResult is the installed environment. Changed is false if it was already current and
 * sound. PreviousOrigin is the origin of the one that was installed before, if any: if a tag moved, it
 * differs from the new one's. */
export interface PullEnvironmentResult {
  changed: boolean;
  repaired?: boolean | undefined;
  previous_origin?: string | undefined;
  phases: Array<PullPhase>;
  environment: EnvironmentManifest;
}

/** PullEnvironmentRequest asks for an environment to be fetched, built and installed. */
export interface PullEnvironmentRequest {
  /** The environment's name. */
  environment: string;
  /** Debian mirror to build from. */
  mirror?: string | undefined;
  /** Build anew though the installed one is current. */
  force?: boolean | undefined;
  /** Hosts of registries that may be asked without TLS. */
  insecure_registries?: Array<string> | undefined;
}

/** EnvironmentRequest names an environment. */
export interface EnvironmentRequest {
  /** The environment's name. */
  environment: string;
}

/** PruneEnvironmentsResult says what a prune removed, or would remove. */
export interface PruneEnvironmentsResult {
  removed: Array<string>;
  freed_bytes: number;
  dry_run?: boolean | undefined;
}

/** PruneEnvironmentsRequest asks for what nothing uses to be removed. */
export interface PruneEnvironmentsRequest {
  /** Remove nothing, and say what would go. */
  dry_run?: boolean | undefined;
}

/** WarmEnvironmentResult is the template made. */
export interface WarmEnvironmentResult {
  environment: string;
  template: string;
  bytes: number;
  duration_ms: number;
}

/** WarmEnvironmentRequest asks for a template, so that VMs of this shape start warm. */
export interface WarmEnvironmentRequest {
  /** The environment's name. */
  environment: string;
  /** Virtual CPUs. */
  vcpu_count?: number | undefined;
  /** Memory in MiB. */
  mem_mib?: number | undefined;
  /** With a network device. */
  network?: boolean | undefined;
}

/** PushEnvironmentResult is the image in the registry. */
export interface PushEnvironmentResult {
  environment: string;
  reference: string;
  digest: string;
  bytes: number;
  duration_ms: number;
}

/** PushEnvironmentRequest asks for an environment to be brought into a registry. */
export interface PushEnvironmentRequest {
  /** The environment's name. */
  environment: string;
  /** The place in a registry: docker://HOST/NAME:TAG. */
  to: string;
  /** Hosts of registries that may be asked without TLS. */
  insecure_registries?: Array<string> | undefined;
}

/** RemoveEnvironmentResult says what was removed. */
export interface RemoveEnvironmentResult {
  environment: string;
  removed: boolean;
}

/** WorkspaceSeed says what /workspace was filled with. Mode is empty, directory or tar_archive. */
export interface WorkspaceSeed {
  mode: "empty" | "directory" | "tar_archive";
  source_path: string | null;
  destination: string;
  entry_count: number;
  bytes_written: number;
  left_out?: Array<string> | undefined;
  left_out_count?: number | undefined;
  ignored?: Array<string> | undefined;
  ignored_count?: number | undefined;
}

/** CopyResult says what was copied. */
export interface CopyResult {
  task_id?: string | undefined;
  path: string;
  entry_count: number;
  bytes_written: number;
  left_out?: Array<string> | undefined;
  left_out_count?: number | undefined;
}

/** RunInVMResult is the command's end. The VM is gone. */
export interface RunInVMResult extends Output {
  vm_id: string;
  environment: string;
  command: string;
  vcpu_count: number;
  mem_mib: number;
  accelerator: "kvm" | "tcg";
  isolation: "vm" | "gvisor" | "none";
  warm: boolean;
  vmm_confinement: string;
  confinement?: string | undefined;
  warnings: Array<string>;
  workspace_seed?: WorkspaceSeed | undefined;
  outputs?: Array<CopyResult> | undefined;
}

/** Shape is what every VM and task is made of. The JSON names are those of every face. */
export interface Shape {
  /** The environment's name, for example debian:12, or a container image with its registry, for
   * example docker.io/library/python:3.12-slim. */
  environment: string;
  /** Virtual CPUs. */
  vcpu_count?: number | undefined;
  /** Memory in MiB. */
  mem_mib?: number | undefined;
  /** Seconds without a command after which the VM or task is removed; 0 is no limit. */
  ttl_seconds?: number | undefined;
  /** Give the guest a network. */
  network?: boolean | undefined;
  /** Allow-list for the network: HOST[:PORT], *.domain, address or CIDR; implies network. */
  allow?: Array<string> | undefined;
  /** Let the command run on the host, confined, if no guest can be had. */
  allow_host_compat?: boolean | undefined;
  /** What stands between guest and host: vm is a virtual machine, gvisor a kernel in user space, much
   * faster if the host has no KVM. */
  isolation?: "vm" | "gvisor" | "none" | undefined;
  /** Size of the writable disk in MiB; it is sparse. */
  disk_mib?: number | undefined;
  /** Kept with the VM and given back by its status. */
  metadata?: Record<string, string> | undefined;
  /** Seconds to wait for a place while as many VMs and tasks live as may; 0 fails at once. */
  wait_seconds?: number | undefined;
  /** A file on the host with certificates of authorities, in PEM, that programs in the guest are to
   * trust. */
  ca_file?: string | undefined;
  /** Have programs in the guest trust the authorities that were added to the host's; left out: if it
   * has a network. */
  host_ca?: boolean | undefined;
  /** Ports of the host's loopback that the guest may reach, at host.pyro.internal. */
  allow_host?: Array<number> | undefined;
}

/** CommandSettings say as whom, where and with what variables commands run. */
export interface CommandSettings {
  /** Environment variables of the command, by name. */
  env?: Record<string, string> | undefined;
  /** Working directory in the guest; relative to /workspace. */
  workdir?: string | undefined;
  /** Who runs the command in the guest: a name or a number, with :GROUP if need be. */
  user?: string | undefined;
}

/** CommandLine is one command: exactly one of its two forms. */
export interface CommandLine extends CommandSettings {
  /** A command line for a shell: bash if the environment has it, else sh. */
  command?: string | undefined;
  /** An argument vector, run as it is, in place of command. */
  argv?: Array<string> | undefined;
  /** Environment variables whose values are never written down, and masked in the output. */
  secrets?: Record<string, string> | undefined;
  /** Seconds after which the command and all that it started is ended; 0 is no limit. */
  timeout_seconds?: number | undefined;
  /** Seconds between SIGTERM, at the timeout, and SIGKILL. */
  grace_seconds?: number | undefined;
}

/** RunInVMRequest asks for one command in a fresh VM. As with docker run, Argv follows the entry point
 * of an environment that has one, and stands in for the environment's own command, which is run if
 * neither form is given. Command is run by the shell alone. */
export interface RunInVMRequest extends Shape, CommandLine {
  /** A directory or tar archive on the host whose content /workspace gets. */
  source_path?: string | undefined;
  /** Refuse a source of which something cannot come along. */
  strict?: boolean | undefined;
  /** Patterns of what stays behind, as in .gitignore. */
  exclude?: Array<string> | undefined;
  /** Take along what git ignores. */
  include_ignored?: boolean | undefined;
  /** Seconds for which one more VM of this shape waits, started, for the next run of any process. */
  keep_warm?: number | undefined;
  /** What is copied to the host afterwards, as PATH=HOST_PATH. */
  outputs?: Array<string> | undefined;
  /** A program that replaces the environment's entry point before argv. */
  entrypoint?: string | undefined;
}

/** VM is a VM's record. State is created, started or stopped. */
export interface VM {
  vm_id: string;
  environment: string;
  state: "created" | "started" | "stopped" | "paused";
  vcpu_count: number;
  mem_mib: number;
  ttl_seconds: number;
  created_at: string;
  expires_at: string | null;
  network_enabled: boolean;
  allow_host_compat: boolean;
  execution_mode: "guest" | "host_compat";
  last_error: string | null;
  metadata: Record<string, string>;
  accelerator: "kvm" | "tcg";
  isolation: "vm" | "gvisor" | "none";
  confinement?: string | undefined;
  warm: boolean;
  vmm_confinement: string;
  warnings: Array<string>;
}

/** CreateVMRequest asks for a VM that is not started yet. */
export interface CreateVMRequest extends Shape {
}

/** VMRequest names a VM. */
export interface VMRequest {
  /** The VM's id. */
  vm_id: string;
}

/** ExecVMRequest asks for one command in a started VM, which is removed afterwards. */
export interface ExecVMRequest extends CommandLine {
  /** The VM's id. */
  vm_id: string;
}

/** DeleteResult says what a deletion did. */
export interface DeleteResult {
  deleted: boolean;
}

/** NetworkPolicy says how far the guest reaches. Mode is public or allow-list. */
export interface NetworkPolicy {
  mode: "empty" | "directory" | "tar_archive";
  allow: Array<string>;
}

/** NetworkCounters count since the guest's start. */
export interface NetworkCounters {
  bytes_in: number;
  bytes_out: number;
  connections_allowed: number;
  connections_refused: number;
  connections_failed: number;
  dns_answered: number;
  dns_refused: number;
  frames_dropped: number;
}

/** PublishedPort is a guest port opened on the host. */
export interface PublishedPort {
  host_ip: string;
  host_port: number;
  guest_port: number;
}

/** NetworkDecision is something that the guest tried, and what became of it. */
export interface NetworkDecision {
  time: string;
  allowed: boolean;
  protocol: string;
  destination: string;
  name?: string | undefined;
  reason: string;
  skipped?: number | undefined;
}

/** NetworkDetails is what NetworkInfo says of a network that is there. */
export interface NetworkDetails {
  guest_address?: string | undefined;
  gateway?: string | undefined;
  dns?: string | undefined;
  mac?: string | undefined;
  policy?: NetworkPolicy | undefined;
  counters: NetworkCounters;
  published?: Array<PublishedPort> | undefined;
  decisions?: Array<NetworkDecision> | undefined;
}

/** NetworkInfo is the state of a guest's network. Fields beyond Enabled are empty without one. */
export interface NetworkInfo extends NetworkDetails {
  vm_id: string;
  enabled: boolean;
}

/** RunningCommand is a command of a task that has not ended. */
export interface RunningCommand {
  sequence: number;
  command: string;
  started_at: string;
}

/** LastCommand is the newest command of a task. */
export interface LastCommand {
  command: string;
  exit_code: number;
}

/** Task is a task's record. */
export interface Task {
  task_id: string;
  name: string;
  environment: string;
  state: "created" | "started" | "stopped" | "paused";
  workspace_path: string;
  vcpu_count: number;
  mem_mib: number;
  ttl_seconds: number;
  created_at: string;
  expires_at: string | null;
  network_enabled: boolean;
  allow_host_compat: boolean;
  execution_mode: "guest" | "host_compat";
  command_count: number;
  running?: Array<RunningCommand> | undefined;
  last_command: LastCommand | null;
  workspace_seed: WorkspaceSeed;
  last_error: string | null;
  metadata: Record<string, string>;
  accelerator: "kvm" | "tcg";
  isolation: "vm" | "gvisor" | "none";
  confinement?: string | undefined;
  warm: boolean;
  vmm_confinement: string;
  warnings: Array<string>;
  forked_from?: string | undefined;
}

/** ListVMsResult is all that lives or is kept in the state directory. */
export interface ListVMsResult {
  vms: Array<VM>;
  spares: Array<VM>;
  tasks: Array<Task>;
}

/** ReapResult names what was reaped: VMs and tasks past their TTL, and what dead supervisors left. */
export interface ReapResult {
  count: number;
  reaped: Array<string>;
}

/** CreateTaskRequest asks for a started task. */
export interface CreateTaskRequest extends Shape, CommandSettings {
  /** A name for it, usable wherever its id is. */
  name?: string | undefined;
  /** A directory, .tar, .tar.gz or .tgz on the host whose content /workspace gets. */
  source_path?: string | undefined;
  /** Refuse a source of which something cannot come along. */
  strict?: boolean | undefined;
  /** Patterns of what stays behind, as in .gitignore. */
  exclude?: Array<string> | undefined;
  /** Take along what git ignores. */
  include_ignored?: boolean | undefined;
  /** Guest ports opened on the host: [HOST_IP:]HOST_PORT:GUEST_PORT; they alone open nothing
   * outwards. */
  publish?: Array<string> | undefined;
}

/** ExecTaskResult is the command's end, as the task's history keeps it. */
export interface ExecTaskResult extends Output {
  task_id: string;
  sequence: number;
  cwd: string;
  command: string;
}

/** ExecTaskRequest asks for one command in a task, which lives on. */
export interface ExecTaskRequest extends CommandLine {
  /** The task's id or name. */
  task_id: string;
}

/** TaskRequest names a task: by its id, its name, or a beginning of its id that no other has. */
export interface TaskRequest {
  /** The task's id or name. */
  task_id: string;
}

/** ListTasksResult is the tasks that live or are kept, oldest first. */
export interface ListTasksResult {
  tasks: Array<Task>;
}

/** ListTasksRequest says which tasks are asked for. */
export interface ListTasksRequest {
  /** Entries of metadata that each of them has. */
  labels?: Record<string, string> | undefined;
}

/** LogsTaskResult is a task's history, oldest first. */
export interface LogsTaskResult {
  task_id: string;
  count: number;
  entries: Array<LogEntry>;
}

/** LogsTaskRequest asks for a task's history. */
export interface LogsTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** Only this command, by its number; left out: all. */
  sequence?: number | undefined;
  /** With sequence: how many bytes of each stream to pass over. */
  offset_bytes?: number | undefined;
  /** With sequence: how many bytes of each stream to give. */
  max_bytes?: number | undefined;
}

/** ExtendTaskRequest asks for a task to be kept for longer. */
export interface ExtendTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** Idle TTL from now on, in seconds; left out: as long as before. */
  ttl_seconds?: number | undefined;
}

/** Command is the record of a background command. Kind is command, shell or service. State is running,
 * exited, stopped (it was asked to end) or interrupted (its guest ended), and of a service also starting,
 * ready, backoff (it is about to be started again) and failed. */
export interface Command {
  task_id: string;
  command_id: string;
  kind: string;
  state: "created" | "started" | "stopped" | "paused";
  sequence: number;
  command: string;
  terminal: boolean;
  started_at: string;
  ended_at: string | null;
  exit_code: number | null;
  timed_out?: boolean | undefined;
  restarts?: number | undefined;
  notice?: string | undefined;
  cause?: string | undefined;
}

/** StartCommandRequest asks for a command that runs in the background of a task: it goes on when the
 * caller goes, and what it writes is kept on disk, the last 2 MiB at least. */
export interface StartCommandRequest extends CommandSettings {
  /** The task's id or name. */
  task_id: string;
  /** A shell command line, run by /bin/sh -lc in the guest. */
  command?: string | undefined;
  /** An argument vector, run as it is, in place of command. */
  argv?: Array<string> | undefined;
  /** Environment variables whose values are never written down, and masked in the output. */
  secrets?: Record<string, string> | undefined;
  /** What the command is to be called, in place of an id that is made up. */
  name?: string | undefined;
  /** Seconds after which the command is ended; 0 is no limit. */
  limit_seconds?: number | undefined;
  /** The command takes input, which write_command sends. */
  input?: boolean | undefined;
}

/** TerminalSize is a terminal's, in characters. */
export interface TerminalSize {
  /** Lines of the terminal. */
  rows?: number | undefined;
  /** Characters in a line of the terminal. */
  cols?: number | undefined;
}

/** OpenShellRequest asks for a program on a terminal that goes on when the caller goes. */
export interface OpenShellRequest extends TerminalSize {
  /** The task's id or name. */
  task_id: string;
  /** A command line to run on the terminal; the user's shell if left out. */
  command?: string | undefined;
  /** What it is to be called, in place of an id that is made up. */
  name?: string | undefined;
  /** The TERM variable; xterm-256color if left out. */
  type?: string | undefined;
}

/** StartServiceRequest asks for a service: a background command that is to run on. At most one of the
 * Ready fields says when it is ready, which the call waits for; without one it is ready once it runs. */
export interface StartServiceRequest {
  /** The task's id or name. */
  task_id: string;
  /** The service's name. */
  name: string;
  /** A shell command line, run by /bin/sh -lc in the guest. */
  command?: string | undefined;
  /** An argument vector, run as it is, in place of command. */
  argv?: Array<string> | undefined;
  /** Environment variables whose values are never written down, and masked in the output. */
  secrets?: Record<string, string> | undefined;
  /** PORT or PORT/PATH that answers with a status below 400. */
  ready_http?: string | undefined;
  /** A port that somebody listens on. */
  ready_tcp?: number | undefined;
  /** A file that is there. */
  ready_file?: string | undefined;
  /** A regular expression that a line of the output matches. */
  ready_log?: string | undefined;
  /** A command line that ends with 0. */
  ready_command?: string | undefined;
  /** Seconds that it may take to be ready; 60 if left out. */
  ready_seconds?: number | undefined;
  /** Start it again if it fails, each time a little later. */
  restart?: boolean | undefined;
  /** How often in a row at most; 0 is no bound. */
  max_restarts?: number | undefined;
  /** Start it again when the task is started again. */
  resume?: boolean | undefined;
}

/** ListCommandsResult is a task's background commands, oldest first. */
export interface ListCommandsResult {
  task_id: string;
  commands: Array<Command>;
}

/** CommandRequest names a background command of a task. */
export interface CommandRequest {
  /** The task's id or name. */
  task_id: string;
  /** The command's id or name. */
  command_id: string;
}

/** WaitCommandRequest waits for a background command's end. */
export interface WaitCommandRequest extends CommandRequest {
  /** Seconds to wait at most; 0 is no limit. */
  limit_seconds?: number | undefined;
}

/** ReadCommandResult is a piece of a background command's output: stdout and stderr in the order in
 * which they came. A character is never cut in two. */
export interface ReadCommandResult extends Command {
  output: string;
  cursor: number;
  lost_bytes?: number | undefined;
}

/** ReadCommandRequest asks for a background command's output from a cursor on. */
export interface ReadCommandRequest extends CommandRequest {
  /** Where to begin: 0, or the cursor that the read before gave; -N is N bytes before the end. */
  cursor?: number | undefined;
  /** How many bytes at most; 65536 if left out. */
  max_bytes?: number | undefined;
  /** Milliseconds to wait for output if there is none yet. */
  wait_ms?: number | undefined;
  /** Milliseconds in which nothing must come, within wait_ms, before the output is given. */
  idle_ms?: number | undefined;
  /** Give the output of a terminal as plain text, without escape sequences. */
  plain?: boolean | undefined;
}

/** AttachCommandRequest asks for a background command's output as it comes, and passes input on to it.
 * The end of the context, or of Stdin, detaches; the command goes on. */
export interface AttachCommandRequest extends CommandRequest {
  /** Where the output begins; 0 is all that is kept, -1 what comes from now on. */
  cursor?: number | undefined;
}

/** WriteCommandRequest is input for a background command. */
export interface WriteCommandRequest extends CommandRequest {
  /** What is typed; is the Enter key,  is Ctrl-C. */
  input: string;
  /** End the input after that. */
  end?: boolean | undefined;
  /** Seconds to wait at most for a command that does not read; 0 is no limit. */
  limit_seconds?: number | undefined;
}

/** SignalCommandRequest sends a signal to a background command: to the foreground job of its terminal
 * if it has one. */
export interface SignalCommandRequest extends CommandRequest {
  /** The signal's name, for example INT, TERM, KILL or HUP. */
  signal: string;
}

/** ResizeCommandRequest tells a background command's terminal its size. */
export interface ResizeCommandRequest extends CommandRequest, TerminalSize {
}

/** StopCommandRequest asks a background command to end: by SIGTERM, a shell by SIGHUP. */
export interface StopCommandRequest extends CommandRequest {
  /** Seconds before it is killed; 10 if left out. */
  grace_seconds?: number | undefined;
}

/** ForwardedPort is a port of the host that leads to one in a task. */
export interface ForwardedPort {
  task_id: string;
  host_ip: string;
  host_port: number;
  guest_port: number;
  udp: boolean;
  stays: boolean;
  connections: number;
}

/** ForwardPortRequest asks for a port of the host that leads to a server in a task, on whichever of the
 * guest's addresses it listens, 127.0.0.1 and ::1 too. It needs no network in the task. */
export interface ForwardPortRequest {
  /** The task's id or name. */
  task_id: string;
  /** The host's address to listen on; 127.0.0.1 if left out. */
  host_ip?: string | undefined;
  /** The host's port; 0 is one that is free. */
  host_port?: number | undefined;
  /** The port of the server in the task. */
  guest_port: number;
  /** Forward datagrams in place of connections. */
  udp?: boolean | undefined;
}

/** ListForwardsResult is a task's forwarded ports. */
export interface ListForwardsResult {
  task_id: string;
  forwards: Array<ForwardedPort>;
}

/** UnforwardPortRequest names a forwarded port of the host. */
export interface UnforwardPortRequest {
  /** The task's id or name. */
  task_id: string;
  /** The host's address; 127.0.0.1 if left out. */
  host_ip?: string | undefined;
  /** The host's port. */
  host_port: number;
  /** A port of datagrams. */
  udp?: boolean | undefined;
}

/** FileInfo is what is known of a file in a guest. Type is file, directory, link or other. */
export interface FileInfo {
  path: string;
  type: string;
  size_bytes: number;
  mode: "empty" | "directory" | "tar_archive";
  uid: number;
  gid: number;
  modified_at: string;
  target?: string | undefined;
}

/** ReadFileResult is what was read. Exactly one of Content and ContentBase64 is set, unless nothing was
 * read. */
export interface ReadFileResult extends FileInfo {
  task_id: string;
  content: string;
  content_base64?: string | undefined;
  truncated: boolean;
}

/** ReadFileRequest asks for a part of a file of a task. */
export interface ReadFileRequest {
  /** The task's id or name. */
  task_id: string;
  /** Path in the guest, below /workspace unless absolute. */
  path: string;
  /** Where in the file to begin, in bytes. */
  offset_bytes?: number | undefined;
  /** How much to read at most, in bytes (1 MiB if left out, 8 MiB at most). */
  max_bytes?: number | undefined;
}

/** WriteFileResult is the written file. */
export interface WriteFileResult extends FileInfo {
  task_id: string;
}

/** WriteFileRequest asks for a file of a task to be made, or replaced as a whole. Directories above it
 * are made. */
export interface WriteFileRequest {
  /** The task's id or name. */
  task_id: string;
  /** Path in the guest, below /workspace unless absolute. */
  path: string;
  /** The whole new content. */
  content?: string | undefined;
  /** The whole new content in Base64, in place of content. */
  content_base64?: string | undefined;
  /** Permissions in octal digits, such as 755. */
  mode?: "empty" | "directory" | "tar_archive" | undefined;
}

/** ListFilesResult is what is in a directory, in the order of names. */
export interface ListFilesResult {
  task_id: string;
  path: string;
  files: Array<FileInfo>;
  truncated: boolean;
}

/** ListFilesRequest asks for what is in a directory of a task. */
export interface ListFilesRequest {
  /** The task's id or name. */
  task_id: string;
  /** Directory in the guest, /workspace if left out. */
  path?: string | undefined;
  /** Also what is in directories below. */
  recursive?: boolean | undefined;
  /** How many entries at most. */
  max_entries?: number | undefined;
}

/** UploadRequest asks for a file or a directory of the host to be copied into a task. */
export interface UploadRequest {
  /** The task's id or name. */
  task_id: string;
  /** A file or directory on the host. */
  host_path: string;
  /** Path in the guest, below /workspace unless absolute. */
  path: string;
}

/** DownloadRequest asks for a file or a directory of a task to be copied to the host. */
export interface DownloadRequest {
  /** The task's id or name. */
  task_id: string;
  /** Path in the guest, below /workspace unless absolute. */
  path: string;
  /** Where to on the host. */
  host_path: string;
}

/** ExportTaskRequest asks for all that a task changed over its environment, its workspace included. */
export interface ExportTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** A .tar, or a directory, on the host. */
  host_path: string;
}

/** FileChange is a file or a link that is not what it was. Change is added, modified or removed;
 * modified is also one whose permission to be run has changed. */
export interface FileChange {
  path: string;
  change: string;
  size_bytes: number;
}

/** DiffTaskResult is what a task changed, in the order of paths. */
export interface DiffTaskResult {
  task_id: string;
  changes: Array<FileChange>;
  patch?: string | undefined;
  left_out?: Array<string> | undefined;
  truncated?: boolean | undefined;
}

/** DiffTaskRequest asks what a task changed in its workspace since it was seeded. What is in .git
 * directories is never told of. */
export interface DiffTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** Give the changes as a patch, too. */
  patch?: boolean | undefined;
  /** Patterns of what is not told of, as in .gitignore. */
  exclude?: Array<string> | undefined;
  /** Tell of new files that a .gitignore ignores, too. */
  include_ignored?: boolean | undefined;
}

/** SyncTaskResult says which files were written and removed in the task, and which were left as the
 * task has them because it changed them as well. */
export interface SyncTaskResult {
  task_id: string;
  written: Array<string>;
  removed: Array<string>;
  conflicts: Array<string>;
}

/** SyncTaskRequest asks for a task's workspace to get what changed in the directory that it was seeded
 * from. What is in .git directories stays as it is. */
export interface SyncTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** Replace files that the task changed as well. */
  force?: boolean | undefined;
}

/** PatchTaskResult says which files were changed. */
export interface PatchTaskResult {
  task_id: string;
  written: Array<string>;
  removed: Array<string>;
}

/** PatchTaskRequest asks for a unified diff to be applied to files of a task, all of it or nothing. */
export interface PatchTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** A unified diff, as git diff writes it. */
  patch: string;
  /** Directory that the names are relative to, /workspace if left out. */
  path?: string | undefined;
}

/** Snapshot is a task as it was at one moment. */
export interface Snapshot {
  snapshot_id: string;
  name?: string | undefined;
  task_id: string;
  environment: string;
  created_at: string;
  memory: boolean;
  without_memory?: string | undefined;
  mem_mib: number;
  pause_ms: number;
  memory_bytes: number;
  disk_bytes: number;
  shared_bytes: number;
  bytes: number;
  forks: Array<string>;
  commands: Array<string>;
}

/** SnapshotTaskRequest asks for a snapshot of a task. */
export interface SnapshotTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** A name for the snapshot, beside its id: lower-case letters, digits, dots, dashes, underscores. */
  name?: string | undefined;
}

/** ForkTaskResult has the forks. */
export interface ForkTaskResult {
  tasks: Array<Task>;
}

/** ForkTaskRequest asks for tasks that go on from where another is. One of TaskID and Snapshot is set. */
export interface ForkTaskRequest {
  /** The task to fork as it is now. */
  task_id?: string | undefined;
  /** The id or name of a snapshot to fork, in place of task_id. */
  snapshot?: string | undefined;
  /** How many forks to make. */
  count?: number | undefined;
  /** Seconds after which each fork is removed; 0 is no limit. */
  ttl_seconds?: number | undefined;
  /** Names and values to keep with each fork. */
  metadata?: Record<string, string> | undefined;
}

/** RollbackTaskResult is the task after it was rolled back. */
export interface RollbackTaskResult extends Task {
  snapshot_id: string;
  duration_ms: number;
}

/** RollbackTaskRequest asks for a task to go on from a snapshot. */
export interface RollbackTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** The snapshot's id or name; the newest one of the task if left out. */
  snapshot?: string | undefined;
}

/** CommitTaskResult is the installed environment. */
export interface CommitTaskResult {
  task_id: string;
  duration_ms: number;
  environment: EnvironmentManifest;
}

/** CommitTaskRequest asks for an environment made of a task's disk. */
export interface CommitTaskRequest {
  /** The task's id or name. */
  task_id: string;
  /** The new environment's name: lower-case letters, digits, dots, dashes, underscores, one colon
   * before a tag. */
  environment: string;
}

/** ListSnapshotsResult has all snapshots, oldest first. */
export interface ListSnapshotsResult {
  snapshots: Array<Snapshot>;
  total_bytes: number;
  limit_bytes: number;
}

/** SnapshotRequest names a snapshot. */
export interface SnapshotRequest {
  /** The snapshot's id or name. */
  snapshot: string;
}

/** DeleteSnapshotResult says what a deletion did. */
export interface DeleteSnapshotResult {
  snapshot_id: string;
  deleted: boolean;
  freed_bytes: number;
}

/** What may be asked of pyro. */
export abstract class Operations {
  protected abstract call(
    method: string,
    params: object,
    options: CallOptions & StreamOptions & ProgressOptions & FollowOptions,
  ): Promise<unknown>;

  /** List the environments: the catalog, and what else is installed. */
  async listEnvironments(options: CallOptions = {}): Promise<ListEnvironmentsResult> {
    return (await this.call("list_environments", {}, options)) as ListEnvironmentsResult;
  }

  /** Fetch, verify, build and install an environment. */
  async pullEnvironment(params: PullEnvironmentRequest, options: CallOptions & ProgressOptions = {}): Promise<PullEnvironmentResult> {
    return (await this.call("pull_environment", params, options)) as PullEnvironmentResult;
  }

  /** Tell what an installed environment is made of. */
  async inspectEnvironment(params: EnvironmentRequest, options: CallOptions = {}): Promise<EnvironmentManifest> {
    return (await this.call("inspect_environment", params, options)) as EnvironmentManifest;
  }

  /** Remove cached environments, downloads and templates that nothing uses. */
  async pruneEnvironments(params: PruneEnvironmentsRequest, options: CallOptions = {}): Promise<PruneEnvironmentsResult> {
    return (await this.call("prune_environments", params, options)) as PruneEnvironmentsResult;
  }

  /** Boot an environment once and keep it frozen, so that VMs of this shape start warm. */
  async warmEnvironment(params: WarmEnvironmentRequest, options: CallOptions = {}): Promise<WarmEnvironmentResult> {
    return (await this.call("warm_environment", params, options)) as WarmEnvironmentResult;
  }

  /** Bring an installed environment into a registry, as an image. */
  async pushEnvironment(params: PushEnvironmentRequest, options: CallOptions & ProgressOptions = {}): Promise<PushEnvironmentResult> {
    return (await this.call("push_environment", params, options)) as PushEnvironmentResult;
  }

  /** Forget an installed environment; its image goes with the next prune. */
  async removeEnvironment(params: EnvironmentRequest, options: CallOptions = {}): Promise<RemoveEnvironmentResult> {
    return (await this.call("remove_environment", params, options)) as RemoveEnvironmentResult;
  }

  /** Run one command in a fresh VM, which is gone afterwards. */
  async runInVM(params: RunInVMRequest, options: CallOptions & StreamOptions & ProgressOptions = {}): Promise<RunInVMResult> {
    return (await this.call("run_in_vm", params, options)) as RunInVMResult;
  }

  /** Create a VM that is not started yet. */
  async createVM(params: CreateVMRequest, options: CallOptions & ProgressOptions = {}): Promise<VM> {
    return (await this.call("create_vm", params, options)) as VM;
  }

  /** Start a VM; it is ready for exec_vm when this returns. */
  async startVM(params: VMRequest, options: CallOptions = {}): Promise<VM> {
    return (await this.call("start_vm", params, options)) as VM;
  }

  /** Run one command in a started VM, which is removed afterwards. */
  async execVM(params: ExecVMRequest, options: CallOptions & StreamOptions = {}): Promise<RunInVMResult> {
    return (await this.call("exec_vm", params, options)) as RunInVMResult;
  }

  /** Stop a VM. What runs in it ends. */
  async stopVM(params: VMRequest, options: CallOptions = {}): Promise<VM> {
    return (await this.call("stop_vm", params, options)) as VM;
  }

  /** Delete a VM in any state. */
  async deleteVM(params: VMRequest, options: CallOptions = {}): Promise<DeleteResult> {
    return (await this.call("delete_vm", params, options)) as DeleteResult;
  }

  /** Give a VM's record. */
  async statusVM(params: VMRequest, options: CallOptions = {}): Promise<VM> {
    return (await this.call("status_vm", params, options)) as VM;
  }

  /** Give the state of the network of a VM, or of a task. */
  async networkInfoVM(params: VMRequest, options: CallOptions = {}): Promise<NetworkInfo> {
    return (await this.call("network_info_vm", params, options)) as NetworkInfo;
  }

  /** List all VMs and tasks that there are. */
  async listVMs(options: CallOptions = {}): Promise<ListVMsResult> {
    return (await this.call("list_vms", {}, options)) as ListVMsResult;
  }

  /** Remove the VMs and tasks that are past their TTL. */
  async reapExpired(options: CallOptions = {}): Promise<ReapResult> {
    return (await this.call("reap_expired", {}, options)) as ReapResult;
  }

  /** Create and start a task, its workspace seeded from a directory or a tar archive. */
  async createTask(params: CreateTaskRequest, options: CallOptions & ProgressOptions = {}): Promise<Task> {
    return (await this.call("create_task", params, options)) as Task;
  }

  /** Run one command in a task, in /workspace; the task lives on. */
  async execTask(params: ExecTaskRequest, options: CallOptions & StreamOptions = {}): Promise<ExecTaskResult> {
    return (await this.call("exec_task", params, options)) as ExecTaskResult;
  }

  /** Give a task's record. */
  async statusTask(params: TaskRequest, options: CallOptions = {}): Promise<Task> {
    return (await this.call("status_task", params, options)) as Task;
  }

  /** List the tasks, oldest first: state, age, what runs in each. */
  async listTasks(params: ListTasksRequest, options: CallOptions = {}): Promise<ListTasksResult> {
    return (await this.call("list_tasks", params, options)) as ListTasksResult;
  }

  /** Give a task's history. */
  async logsTask(params: LogsTaskRequest, options: CallOptions & FollowOptions = {}): Promise<LogsTaskResult> {
    return (await this.call("logs_task", params, options)) as LogsTaskResult;
  }

  /** Begin a task's idle TTL anew, with another length if one is given. */
  async extendTask(params: ExtendTaskRequest, options: CallOptions = {}): Promise<Task> {
    return (await this.call("extend_task", params, options)) as Task;
  }

  /** End a task's guest and keep its files; the next command starts it again. */
  async stopTask(params: TaskRequest, options: CallOptions = {}): Promise<Task> {
    return (await this.call("stop_task", params, options)) as Task;
  }

  /** Start a stopped task. */
  async startTask(params: TaskRequest, options: CallOptions = {}): Promise<Task> {
    return (await this.call("start_task", params, options)) as Task;
  }

  /** End a task and remove all that it kept. */
  async deleteTask(params: TaskRequest, options: CallOptions = {}): Promise<DeleteResult> {
    return (await this.call("delete_task", params, options)) as DeleteResult;
  }

  /** Start a command in the background of a task; it goes on when the caller goes. */
  async startCommand(params: StartCommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("start_command", params, options)) as Command;
  }

  /** Start a program on a terminal of a task; it goes on when the caller goes. */
  async openShell(params: OpenShellRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("open_shell", params, options)) as Command;
  }

  /** Start a service in a task, and wait until it is ready. */
  async startService(params: StartServiceRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("start_service", params, options)) as Command;
  }

  /** List a task's background commands, shells and services. */
  async listCommands(params: TaskRequest, options: CallOptions = {}): Promise<ListCommandsResult> {
    return (await this.call("list_commands", params, options)) as ListCommandsResult;
  }

  /** Give the record of a background command. */
  async statusCommand(params: CommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("status_command", params, options)) as Command;
  }

  /** Wait for the end of a background command. */
  async waitCommand(params: WaitCommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("wait_command", params, options)) as Command;
  }

  /** Read a background command's output from a cursor on. */
  async readCommand(params: ReadCommandRequest, options: CallOptions = {}): Promise<ReadCommandResult> {
    return (await this.call("read_command", params, options)) as ReadCommandResult;
  }

  /** Pass a background command's output on as it comes, and input to it. */
  async attachCommand(params: AttachCommandRequest, options: CallOptions & StreamOptions = {}): Promise<Command> {
    return (await this.call("attach_command", params, options)) as Command;
  }

  /** Send input to a background command. */
  async writeCommand(params: WriteCommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("write_command", params, options)) as Command;
  }

  /** Send a signal to a background command. */
  async signalCommand(params: SignalCommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("signal_command", params, options)) as Command;
  }

  /** Tell the terminal of a background command its size. */
  async resizeCommand(params: ResizeCommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("resize_command", params, options)) as Command;
  }

  /** End a background command, shell or service. */
  async stopCommand(params: StopCommandRequest, options: CallOptions = {}): Promise<Command> {
    return (await this.call("stop_command", params, options)) as Command;
  }

  /** Open a port of the host that leads to a server in a task. */
  async forwardPort(params: ForwardPortRequest, options: CallOptions = {}): Promise<ForwardedPort> {
    return (await this.call("forward_port", params, options)) as ForwardedPort;
  }

  /** List the ports of the host that lead into a task. */
  async listForwards(params: TaskRequest, options: CallOptions = {}): Promise<ListForwardsResult> {
    return (await this.call("list_forwards", params, options)) as ListForwardsResult;
  }

  /** Close a port of the host that leads into a task. */
  async unforwardPort(params: UnforwardPortRequest, options: CallOptions = {}): Promise<ForwardedPort> {
    return (await this.call("unforward_port", params, options)) as ForwardedPort;
  }

  /** Read a part of a file of a task. */
  async readFile(params: ReadFileRequest, options: CallOptions = {}): Promise<ReadFileResult> {
    return (await this.call("read_file", params, options)) as ReadFileResult;
  }

  /** Make or replace a file of a task, whole or not at all. */
  async writeFile(params: WriteFileRequest, options: CallOptions = {}): Promise<WriteFileResult> {
    return (await this.call("write_file", params, options)) as WriteFileResult;
  }

  /** List what is in a directory of a task. */
  async listFiles(params: ListFilesRequest, options: CallOptions = {}): Promise<ListFilesResult> {
    return (await this.call("list_files", params, options)) as ListFilesResult;
  }

  /** Copy a file or a directory of the host into a task. */
  async upload(params: UploadRequest, options: CallOptions & ProgressOptions = {}): Promise<CopyResult> {
    return (await this.call("upload", params, options)) as CopyResult;
  }

  /** Copy a file or a directory of a task to the host. */
  async download(params: DownloadRequest, options: CallOptions & ProgressOptions = {}): Promise<CopyResult> {
    return (await this.call("download", params, options)) as CopyResult;
  }

  /** Copy all that a task changed over its environment to the host. */
  async exportTask(params: ExportTaskRequest, options: CallOptions = {}): Promise<CopyResult> {
    return (await this.call("export_task", params, options)) as CopyResult;
  }

  /** Tell what a task changed in its workspace since it was seeded: names, or a patch. */
  async diffTask(params: DiffTaskRequest, options: CallOptions = {}): Promise<DiffTaskResult> {
    return (await this.call("diff_task", params, options)) as DiffTaskResult;
  }

  /** Send into a task what changed since in the directory that it was seeded from. */
  async syncTask(params: SyncTaskRequest, options: CallOptions & ProgressOptions = {}): Promise<SyncTaskResult> {
    return (await this.call("sync_task", params, options)) as SyncTaskResult;
  }

  /** Apply a unified diff to files of a task, all of it or nothing. */
  async patchTask(params: PatchTaskRequest, options: CallOptions = {}): Promise<PatchTaskResult> {
    return (await this.call("patch_task", params, options)) as PatchTaskResult;
  }

  /** Keep a task as it is at one moment: processes, memory and disk; it goes on. */
  async snapshotTask(params: SnapshotTaskRequest, options: CallOptions = {}): Promise<Snapshot> {
    return (await this.call("snapshot_task", params, options)) as Snapshot;
  }

  /** Make tasks that go on from where another is, or from a snapshot. */
  async forkTask(params: ForkTaskRequest, options: CallOptions = {}): Promise<ForkTaskResult> {
    return (await this.call("fork_task", params, options)) as ForkTaskResult;
  }

  /** Have a task go on from a snapshot; what it did since is lost. */
  async rollbackTask(params: RollbackTaskRequest, options: CallOptions = {}): Promise<RollbackTaskResult> {
    return (await this.call("rollback_task", params, options)) as RollbackTaskResult;
  }

  /** Keep a task on disk, with its memory, until it is resumed; it takes no memory of the host. */
  async pauseTask(params: TaskRequest, options: CallOptions = {}): Promise<Task> {
    return (await this.call("pause_task", params, options)) as Task;
  }

  /** Make an installed environment of a task's disk. */
  async commitTask(params: CommitTaskRequest, options: CallOptions = {}): Promise<CommitTaskResult> {
    return (await this.call("commit_task", params, options)) as CommitTaskResult;
  }

  /** Have a paused task go on, and a stopped one start. */
  async resumeTask(params: TaskRequest, options: CallOptions = {}): Promise<Task> {
    return (await this.call("resume_task", params, options)) as Task;
  }

  /** List the snapshots of tasks, with what they take on disk. */
  async listSnapshots(options: CallOptions = {}): Promise<ListSnapshotsResult> {
    return (await this.call("list_snapshots", {}, options)) as ListSnapshotsResult;
  }

  /** Tell what a snapshot is of, and what it takes. */
  async inspectSnapshot(params: SnapshotRequest, options: CallOptions = {}): Promise<Snapshot> {
    return (await this.call("inspect_snapshot", params, options)) as Snapshot;
  }

  /** Remove a snapshot; tasks that were made from it go on. */
  async deleteSnapshot(params: SnapshotRequest, options: CallOptions = {}): Promise<DeleteSnapshotResult> {
    return (await this.call("delete_snapshot", params, options)) as DeleteSnapshotResult;
  }
}
