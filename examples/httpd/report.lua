-- SPDX-License-Identifier: MIT
-- For wrk: posts a body where one is asked for, and prints the outcome as a line of JSON.

function init(arguments)
	local length = tonumber(arguments[1] or "")
	if length then
		wrk.method = "POST"
		wrk.body = string.rep("m", length)
	end
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format(
		'JSON {"requests":%d,"us":%d,"p50":%.1f,"p99":%.1f,"p999":%.1f,"errors":%d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
		latency:percentile(99.9), e.connect + e.read + e.write + e.status + e.timeout))
end
