package main

import "strings"

// asynchronous turns the file of operations into the one for asyncio: the same methods, awaited.
func asynchronous(operations string) string {
	return strings.NewReplacer(
		"The operations, one method each", "The operations for asyncio, one method each",
		"    def ", "    async def ",
		"self._call(", "await self._call(",
		"class Operations(Calls)", "class AsyncOperations(AsyncCalls)",
		"    Calls,\n", "    AsyncCalls,\n",
	).Replace(operations)
}
