-- Sends the query strings in the file QUERIES to the path QUERIED, in turn, made into requests before the clock starts.
local requests, at = {}, 0

function init(arguments)
  for query in io.lines(os.getenv("QUERIES")) do
    requests[#requests + 1] = wrk.format("GET", os.getenv("QUERIED") .. "?" .. query)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
