package pyro

// CommitTaskRequest asks for an environment made of a task's disk.
type CommitTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Environment is the new environment's name: lower-case letters, digits, dots, dashes and underscores,
	// and one colon before a tag. Names that the catalog or an image has are refused.
	Environment string `json:"environment" jsonschema:"the new environment's name: lower-case letters, digits, dots, dashes, underscores, one colon before a tag"`
}

// CommitTaskResult is the installed environment.
type CommitTaskResult struct {
	TaskID     string              `json:"task_id"`
	DurationMS int64               `json:"duration_ms"`
	Env        EnvironmentManifest `json:"environment"`
}

// PushEnvironmentRequest asks for an environment to be brought into a registry.
type PushEnvironmentRequest struct {
	Environment string `json:"environment" jsonschema:"the environment's name"`
	// To is the place in the registry: HOST/NAME[:TAG], with or without docker:// in front.
	To string `json:"to" jsonschema:"the place in a registry: docker://HOST/NAME:TAG"`
	// InsecureRegistries are added to Options.InsecureRegistries.
	InsecureRegistries []string `json:"insecure_registries,omitempty" jsonschema:"hosts of registries that may be asked without TLS"`
	// Progress, if set, is called as the push goes on, from one goroutine at a time.
	Progress func(PullProgress) `json:"-"`
}

// PushEnvironmentResult is the image in the registry.
type PushEnvironmentResult struct {
	Environment string `json:"environment"`
	Reference   string `json:"reference"`   // the image with its digest, by which it is pulled
	Digest      string `json:"digest"`      // of the image's manifest
	Bytes       int64  `json:"bytes"`       // of its layer, as it is stored
	DurationMS  int64  `json:"duration_ms"` // of all of it
}

// RemoveEnvironmentResult says what was removed.
type RemoveEnvironmentResult struct {
	Environment string `json:"environment"`
	Removed     bool   `json:"removed"`
}
