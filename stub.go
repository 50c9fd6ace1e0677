package pyro

import "context"

// ListEnvironments is not there yet.
func (p *Pyro) ListEnvironments(ctx context.Context) (ListEnvironmentsResult, error) {
	return ListEnvironmentsResult{}, errStub
}

// PullEnvironment is not there yet.
func (p *Pyro) PullEnvironment(ctx context.Context, r PullEnvironmentRequest) (PullEnvironmentResult, error) {
	return PullEnvironmentResult{}, errStub
}

// InspectEnvironment is not there yet.
func (p *Pyro) InspectEnvironment(ctx context.Context, r EnvironmentRequest) (EnvironmentManifest, error) {
	return EnvironmentManifest{}, errStub
}

// PruneEnvironments is not there yet.
func (p *Pyro) PruneEnvironments(ctx context.Context) (PruneEnvironmentsResult, error) {
	return PruneEnvironmentsResult{}, errStub
}

// WarmEnvironment is not there yet.
func (p *Pyro) WarmEnvironment(ctx context.Context, r WarmEnvironmentRequest) (WarmEnvironmentResult, error) {
	return WarmEnvironmentResult{}, errStub
}

// CreateVM is not there yet.
func (p *Pyro) CreateVM(ctx context.Context, r CreateVMRequest) (VM, error) {
	return VM{}, errStub
}

// StartVM is not there yet.
func (p *Pyro) StartVM(ctx context.Context, r VMRequest) (VM, error) {
	return VM{}, errStub
}

// ExecVM is not there yet.
func (p *Pyro) ExecVM(ctx context.Context, r ExecVMRequest) (ExecVMResult, error) {
	return ExecVMResult{}, errStub
}

// StopVM is not there yet.
func (p *Pyro) StopVM(ctx context.Context, r VMRequest) (VM, error) {
	return VM{}, errStub
}

// DeleteVM is not there yet.
func (p *Pyro) DeleteVM(ctx context.Context, r VMRequest) (DeleteResult, error) {
	return DeleteResult{}, errStub
}

// StatusVM is not there yet.
func (p *Pyro) StatusVM(ctx context.Context, r VMRequest) (VM, error) {
	return VM{}, errStub
}

// NetworkInfoVM is not there yet.
func (p *Pyro) NetworkInfoVM(ctx context.Context, r VMRequest) (NetworkInfo, error) {
	return NetworkInfo{}, errStub
}

// ReapExpired is not there yet.
func (p *Pyro) ReapExpired(ctx context.Context) (ReapResult, error) {
	return ReapResult{}, errStub
}

// RunInVM is not there yet.
func (p *Pyro) RunInVM(ctx context.Context, r RunInVMRequest) (RunInVMResult, error) {
	return RunInVMResult{}, errStub
}

// CreateTask is not there yet.
func (p *Pyro) CreateTask(ctx context.Context, r CreateTaskRequest) (Task, error) {
	return Task{}, errStub
}

// ExecTask is not there yet.
func (p *Pyro) ExecTask(ctx context.Context, r ExecTaskRequest) (ExecTaskResult, error) {
	return ExecTaskResult{}, errStub
}

// StatusTask is not there yet.
func (p *Pyro) StatusTask(ctx context.Context, r TaskRequest) (Task, error) {
	return Task{}, errStub
}

// LogsTask is not there yet.
func (p *Pyro) LogsTask(ctx context.Context, r LogsTaskRequest) (LogsTaskResult, error) {
	return LogsTaskResult{}, errStub
}

// DeleteTask is not there yet.
func (p *Pyro) DeleteTask(ctx context.Context, r TaskRequest) (DeleteResult, error) {
	return DeleteResult{}, errStub
}

// ListVMs is not there yet.
func (p *Pyro) ListVMs(ctx context.Context) (ListVMsResult, error) {
	return ListVMsResult{}, errStub
}

var errStub = &Error{Message: "not there yet"}

// ListVMsResult is all that lives or is kept in the state directory.
type ListVMsResult struct {
	VMs   []VM   `json:"vms"`
	Tasks []Task `json:"tasks"`
}
