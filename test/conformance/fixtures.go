package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A picture of one pixel and a sound of no length.
const (
	picture = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06" +
		"\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\xdac\xfc\xcf\xc0P\x0f\x00\x04\x85\x01\x80" +
		"\x84\xa9\x8c!\x00\x00\x00\x00IEND\xaeB`\x82"
	sound = "RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00" +
		"\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
)

// message and prompt are the parameters of what asks the client.
const (
	message = `{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}`
	prompt  = `{"type":"object","properties":{"prompt":{"type":"string"}},"required":["prompt"]}`
)

// fixtures are the tools, by the names of the suite.
func fixtures() []fixture {
	image := &mcp.ImageContent{Data: []byte(picture), MIMEType: "image/png"}
	resource := &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{
		URI:      "test://embedded-resource",
		MIMEType: "text/plain",
		Text:     "This is an embedded resource content.",
	}}
	failed := content(text("This tool intentionally returns an error for testing"))
	failed.IsError = true
	return []fixture{
		{"test_simple_text", "", always(content(text("This is a simple text response for testing.")))},
		{"test_image_content", "", always(content(image))},
		{"test_audio_content", "", always(content(&mcp.AudioContent{
			Data:     []byte(sound),
			MIMEType: "audio/wav",
		}))},
		{"test_embedded_resource", "", always(content(resource))},
		{"test_multiple_content_types", "", always(content(
			text("Multiple content types test:"), image, resource))},
		{"test_error_handling", "", always(failed)},
		{"test_tool_with_progress", "", reportProgress},
		{"test_sampling", prompt, sample},
		{"test_elicitation", message, elicit(`{"type":"object","properties":{
			"username":{"type":"string"},"email":{"type":"string"}},"required":["username","email"]}`)},
		{"test_elicitation_sep1034_defaults", "", elicit(defaults)},
		{"test_elicitation_sep1330_enums", "", elicit(enums)},
		{"json_schema_2020_12_tool", modern, always(content(text("read")))},
		{"test_reconnection", "", reconnect},
	}
}

// reportProgress tells of three steps.
func reportProgress(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	for _, step := range []float64{0, 50, 100} {
		err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: r.Params.GetProgressToken(),
			Progress:      step,
			Total:         100,
		})
		if err != nil {
			return nil, err
		}
	}
	return content(text("done")), nil
}

// sample asks the client's model.
func sample(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	var in struct{ Prompt string }
	if err := json.Unmarshal(r.Params.Arguments, &in); err != nil {
		return nil, err
	}
	//lint:ignore SA1019 the suite asks for what the clients of today have
	answer, err := r.Session.CreateMessage(ctx, &mcp.CreateMessageParams{
		//lint:ignore SA1019 The suite asks for it as long as the protocol has it.
		Messages:  []*mcp.SamplingMessage{{Role: "user", Content: text("%s", in.Prompt)}},
		MaxTokens: 100,
	})
	if err != nil {
		return nil, err
	}
	said, _ := answer.Content.(*mcp.TextContent)
	if said == nil {
		said = text("")
	}
	return content(text("LLM response: %s", said.Text)), nil
}

// elicit asks the client's user by a schema.
func elicit(schema string) func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		in := struct{ Message string }{"Please answer"}
		if err := json.Unmarshal(r.Params.Arguments, &in); err != nil {
			return nil, err
		}
		answer, err := r.Session.Elicit(ctx, &mcp.ElicitParams{
			Message:         in.Message,
			RequestedSchema: json.RawMessage(schema),
		})
		if err != nil {
			return nil, err
		}
		return content(text("User response: action=%s, content=%v", answer.Action, answer.Content)), nil
	}
}

// reconnect ends the stream in the middle of the call: the client is to come back for the answer.
func reconnect(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if r.Extra != nil && r.Extra.CloseSSEStream != nil {
		r.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 10 * time.Millisecond})
	}
	return content(text("Reconnection test completed successfully")), nil
}

// The schemas that the suite looks for.
const (
	defaults = `{"type":"object","properties":{
		"name":{"type":"string","default":"John Doe"},
		"age":{"type":"integer","default":30},
		"score":{"type":"number","default":95.5},
		"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},
		"verified":{"type":"boolean","default":true}},"required":[]}`
	enums = `{"type":"object","properties":{
		"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
		"titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First Option"},
			{"const":"value2","title":"Second Option"},{"const":"value3","title":"Third Option"}]},
		"legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],
			"enumNames":["Option One","Option Two","Option Three"]},
		"untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},
		"titledMulti":{"type":"array","items":{"anyOf":[{"const":"value1","title":"First Choice"},
			{"const":"value2","title":"Second Choice"},{"const":"value3","title":"Third Choice"}]}}},"required":[]}`
	modern = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
		"$defs":{"address":{"type":"object","$anchor":"addressDef",
			"properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
		"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},
			"contactMethod":{"type":"string","enum":["phone","email"]},
			"phone":{"type":"string"},"email":{"type":"string"}},
		"allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
		"if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},
		"then":{"required":["phone"]},"else":{"required":["email"]},
		"additionalProperties":false}`
)
