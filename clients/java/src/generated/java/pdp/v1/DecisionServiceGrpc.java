package pdp.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Decides about tool calls and other actions of agents.
 * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
 * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
 * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class DecisionServiceGrpc {

  private DecisionServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "pdp.v1.DecisionService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<pdp.v1.AuthorizeRequest,
      pdp.v1.AuthorizeResponse> getAuthorizeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Authorize",
      requestType = pdp.v1.AuthorizeRequest.class,
      responseType = pdp.v1.AuthorizeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.AuthorizeRequest,
      pdp.v1.AuthorizeResponse> getAuthorizeMethod() {
    io.grpc.MethodDescriptor<pdp.v1.AuthorizeRequest, pdp.v1.AuthorizeResponse> getAuthorizeMethod;
    if ((getAuthorizeMethod = DecisionServiceGrpc.getAuthorizeMethod) == null) {
      synchronized (DecisionServiceGrpc.class) {
        if ((getAuthorizeMethod = DecisionServiceGrpc.getAuthorizeMethod) == null) {
          DecisionServiceGrpc.getAuthorizeMethod = getAuthorizeMethod =
              io.grpc.MethodDescriptor.<pdp.v1.AuthorizeRequest, pdp.v1.AuthorizeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Authorize"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.AuthorizeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.AuthorizeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecisionServiceMethodDescriptorSupplier("Authorize"))
              .build();
        }
      }
    }
    return getAuthorizeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.AuthorizeBatchRequest,
      pdp.v1.AuthorizeBatchResponse> getAuthorizeBatchMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "AuthorizeBatch",
      requestType = pdp.v1.AuthorizeBatchRequest.class,
      responseType = pdp.v1.AuthorizeBatchResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.AuthorizeBatchRequest,
      pdp.v1.AuthorizeBatchResponse> getAuthorizeBatchMethod() {
    io.grpc.MethodDescriptor<pdp.v1.AuthorizeBatchRequest, pdp.v1.AuthorizeBatchResponse> getAuthorizeBatchMethod;
    if ((getAuthorizeBatchMethod = DecisionServiceGrpc.getAuthorizeBatchMethod) == null) {
      synchronized (DecisionServiceGrpc.class) {
        if ((getAuthorizeBatchMethod = DecisionServiceGrpc.getAuthorizeBatchMethod) == null) {
          DecisionServiceGrpc.getAuthorizeBatchMethod = getAuthorizeBatchMethod =
              io.grpc.MethodDescriptor.<pdp.v1.AuthorizeBatchRequest, pdp.v1.AuthorizeBatchResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "AuthorizeBatch"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.AuthorizeBatchRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.AuthorizeBatchResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecisionServiceMethodDescriptorSupplier("AuthorizeBatch"))
              .build();
        }
      }
    }
    return getAuthorizeBatchMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.InterceptRequest,
      pdp.v1.InterceptResponse> getInterceptMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Intercept",
      requestType = pdp.v1.InterceptRequest.class,
      responseType = pdp.v1.InterceptResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.InterceptRequest,
      pdp.v1.InterceptResponse> getInterceptMethod() {
    io.grpc.MethodDescriptor<pdp.v1.InterceptRequest, pdp.v1.InterceptResponse> getInterceptMethod;
    if ((getInterceptMethod = DecisionServiceGrpc.getInterceptMethod) == null) {
      synchronized (DecisionServiceGrpc.class) {
        if ((getInterceptMethod = DecisionServiceGrpc.getInterceptMethod) == null) {
          DecisionServiceGrpc.getInterceptMethod = getInterceptMethod =
              io.grpc.MethodDescriptor.<pdp.v1.InterceptRequest, pdp.v1.InterceptResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Intercept"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.InterceptRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.InterceptResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecisionServiceMethodDescriptorSupplier("Intercept"))
              .build();
        }
      }
    }
    return getInterceptMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.DecideRequest,
      pdp.v1.DecideResponse> getDecideMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Decide",
      requestType = pdp.v1.DecideRequest.class,
      responseType = pdp.v1.DecideResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.DecideRequest,
      pdp.v1.DecideResponse> getDecideMethod() {
    io.grpc.MethodDescriptor<pdp.v1.DecideRequest, pdp.v1.DecideResponse> getDecideMethod;
    if ((getDecideMethod = DecisionServiceGrpc.getDecideMethod) == null) {
      synchronized (DecisionServiceGrpc.class) {
        if ((getDecideMethod = DecisionServiceGrpc.getDecideMethod) == null) {
          DecisionServiceGrpc.getDecideMethod = getDecideMethod =
              io.grpc.MethodDescriptor.<pdp.v1.DecideRequest, pdp.v1.DecideResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Decide"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.DecideRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.DecideResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecisionServiceMethodDescriptorSupplier("Decide"))
              .build();
        }
      }
    }
    return getDecideMethod;
  }

  private static volatile io.grpc.MethodDescriptor<pdp.v1.FilterToolsRequest,
      pdp.v1.FilterToolsResponse> getFilterToolsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "FilterTools",
      requestType = pdp.v1.FilterToolsRequest.class,
      responseType = pdp.v1.FilterToolsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<pdp.v1.FilterToolsRequest,
      pdp.v1.FilterToolsResponse> getFilterToolsMethod() {
    io.grpc.MethodDescriptor<pdp.v1.FilterToolsRequest, pdp.v1.FilterToolsResponse> getFilterToolsMethod;
    if ((getFilterToolsMethod = DecisionServiceGrpc.getFilterToolsMethod) == null) {
      synchronized (DecisionServiceGrpc.class) {
        if ((getFilterToolsMethod = DecisionServiceGrpc.getFilterToolsMethod) == null) {
          DecisionServiceGrpc.getFilterToolsMethod = getFilterToolsMethod =
              io.grpc.MethodDescriptor.<pdp.v1.FilterToolsRequest, pdp.v1.FilterToolsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "FilterTools"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.FilterToolsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  pdp.v1.FilterToolsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecisionServiceMethodDescriptorSupplier("FilterTools"))
              .build();
        }
      }
    }
    return getFilterToolsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static DecisionServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecisionServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecisionServiceStub>() {
        @java.lang.Override
        public DecisionServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecisionServiceStub(channel, callOptions);
        }
      };
    return DecisionServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static DecisionServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecisionServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecisionServiceBlockingV2Stub>() {
        @java.lang.Override
        public DecisionServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecisionServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return DecisionServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static DecisionServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecisionServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecisionServiceBlockingStub>() {
        @java.lang.Override
        public DecisionServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecisionServiceBlockingStub(channel, callOptions);
        }
      };
    return DecisionServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static DecisionServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecisionServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecisionServiceFutureStub>() {
        @java.lang.Override
        public DecisionServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecisionServiceFutureStub(channel, callOptions);
        }
      };
    return DecisionServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Decides about tool calls and other actions of agents.
   * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
   * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
   * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Answers the Cedar question: may this subject do this action on this resource in this context?
     * </pre>
     */
    default void authorize(pdp.v1.AuthorizeRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.AuthorizeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAuthorizeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Answers many Cedar questions against one revision, in order. A bad item never fails the others.
     * </pre>
     */
    default void authorizeBatch(pdp.v1.AuthorizeBatchRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.AuthorizeBatchResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAuthorizeBatchMethod(), responseObserver);
    }

    /**
     * <pre>
     * Runs the interceptor chain on a tool call or on its result. It asks no policy.
     * </pre>
     */
    default void intercept(pdp.v1.InterceptRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.InterceptResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getInterceptMethod(), responseObserver);
    }

    /**
     * <pre>
     * Decides about one tool call in one round trip: the request interceptors, then Cedar on the call as they left it.
     * </pre>
     */
    default void decide(pdp.v1.DecideRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.DecideResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDecideMethod(), responseObserver);
    }

    /**
     * <pre>
     * Tells which of these tools the subject could ever call; for the answer to a `tools/list`.
     * </pre>
     */
    default void filterTools(pdp.v1.FilterToolsRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.FilterToolsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getFilterToolsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service DecisionService.
   * <pre>
   * Decides about tool calls and other actions of agents.
   * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
   * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
   * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
   * </pre>
   */
  public static abstract class DecisionServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return DecisionServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service DecisionService.
   * <pre>
   * Decides about tool calls and other actions of agents.
   * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
   * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
   * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
   * </pre>
   */
  public static final class DecisionServiceStub
      extends io.grpc.stub.AbstractAsyncStub<DecisionServiceStub> {
    private DecisionServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecisionServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecisionServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Answers the Cedar question: may this subject do this action on this resource in this context?
     * </pre>
     */
    public void authorize(pdp.v1.AuthorizeRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.AuthorizeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAuthorizeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Answers many Cedar questions against one revision, in order. A bad item never fails the others.
     * </pre>
     */
    public void authorizeBatch(pdp.v1.AuthorizeBatchRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.AuthorizeBatchResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAuthorizeBatchMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Runs the interceptor chain on a tool call or on its result. It asks no policy.
     * </pre>
     */
    public void intercept(pdp.v1.InterceptRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.InterceptResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getInterceptMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Decides about one tool call in one round trip: the request interceptors, then Cedar on the call as they left it.
     * </pre>
     */
    public void decide(pdp.v1.DecideRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.DecideResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDecideMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Tells which of these tools the subject could ever call; for the answer to a `tools/list`.
     * </pre>
     */
    public void filterTools(pdp.v1.FilterToolsRequest request,
        io.grpc.stub.StreamObserver<pdp.v1.FilterToolsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getFilterToolsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service DecisionService.
   * <pre>
   * Decides about tool calls and other actions of agents.
   * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
   * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
   * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
   * </pre>
   */
  public static final class DecisionServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<DecisionServiceBlockingV2Stub> {
    private DecisionServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecisionServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecisionServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Answers the Cedar question: may this subject do this action on this resource in this context?
     * </pre>
     */
    public pdp.v1.AuthorizeResponse authorize(pdp.v1.AuthorizeRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAuthorizeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Answers many Cedar questions against one revision, in order. A bad item never fails the others.
     * </pre>
     */
    public pdp.v1.AuthorizeBatchResponse authorizeBatch(pdp.v1.AuthorizeBatchRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAuthorizeBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Runs the interceptor chain on a tool call or on its result. It asks no policy.
     * </pre>
     */
    public pdp.v1.InterceptResponse intercept(pdp.v1.InterceptRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getInterceptMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides about one tool call in one round trip: the request interceptors, then Cedar on the call as they left it.
     * </pre>
     */
    public pdp.v1.DecideResponse decide(pdp.v1.DecideRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDecideMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tells which of these tools the subject could ever call; for the answer to a `tools/list`.
     * </pre>
     */
    public pdp.v1.FilterToolsResponse filterTools(pdp.v1.FilterToolsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getFilterToolsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service DecisionService.
   * <pre>
   * Decides about tool calls and other actions of agents.
   * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
   * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
   * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
   * </pre>
   */
  public static final class DecisionServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<DecisionServiceBlockingStub> {
    private DecisionServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecisionServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecisionServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Answers the Cedar question: may this subject do this action on this resource in this context?
     * </pre>
     */
    public pdp.v1.AuthorizeResponse authorize(pdp.v1.AuthorizeRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAuthorizeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Answers many Cedar questions against one revision, in order. A bad item never fails the others.
     * </pre>
     */
    public pdp.v1.AuthorizeBatchResponse authorizeBatch(pdp.v1.AuthorizeBatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAuthorizeBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Runs the interceptor chain on a tool call or on its result. It asks no policy.
     * </pre>
     */
    public pdp.v1.InterceptResponse intercept(pdp.v1.InterceptRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getInterceptMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides about one tool call in one round trip: the request interceptors, then Cedar on the call as they left it.
     * </pre>
     */
    public pdp.v1.DecideResponse decide(pdp.v1.DecideRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDecideMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tells which of these tools the subject could ever call; for the answer to a `tools/list`.
     * </pre>
     */
    public pdp.v1.FilterToolsResponse filterTools(pdp.v1.FilterToolsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getFilterToolsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service DecisionService.
   * <pre>
   * Decides about tool calls and other actions of agents.
   * A denial is an answer and never an RPC error; an RPC error is never an allow. What the agent got wrong (its
   * arguments, its token) is a denial with a code; what the caller got wrong is INVALID_ARGUMENT with a
   * `google.rpc.ErrorInfo` (a reason, the domain `pdp.v1`, and the name of the field in its metadata).
   * </pre>
   */
  public static final class DecisionServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<DecisionServiceFutureStub> {
    private DecisionServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecisionServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecisionServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Answers the Cedar question: may this subject do this action on this resource in this context?
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.AuthorizeResponse> authorize(
        pdp.v1.AuthorizeRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAuthorizeMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Answers many Cedar questions against one revision, in order. A bad item never fails the others.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.AuthorizeBatchResponse> authorizeBatch(
        pdp.v1.AuthorizeBatchRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAuthorizeBatchMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Runs the interceptor chain on a tool call or on its result. It asks no policy.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.InterceptResponse> intercept(
        pdp.v1.InterceptRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getInterceptMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Decides about one tool call in one round trip: the request interceptors, then Cedar on the call as they left it.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.DecideResponse> decide(
        pdp.v1.DecideRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDecideMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Tells which of these tools the subject could ever call; for the answer to a `tools/list`.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<pdp.v1.FilterToolsResponse> filterTools(
        pdp.v1.FilterToolsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getFilterToolsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_AUTHORIZE = 0;
  private static final int METHODID_AUTHORIZE_BATCH = 1;
  private static final int METHODID_INTERCEPT = 2;
  private static final int METHODID_DECIDE = 3;
  private static final int METHODID_FILTER_TOOLS = 4;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_AUTHORIZE:
          serviceImpl.authorize((pdp.v1.AuthorizeRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.AuthorizeResponse>) responseObserver);
          break;
        case METHODID_AUTHORIZE_BATCH:
          serviceImpl.authorizeBatch((pdp.v1.AuthorizeBatchRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.AuthorizeBatchResponse>) responseObserver);
          break;
        case METHODID_INTERCEPT:
          serviceImpl.intercept((pdp.v1.InterceptRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.InterceptResponse>) responseObserver);
          break;
        case METHODID_DECIDE:
          serviceImpl.decide((pdp.v1.DecideRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.DecideResponse>) responseObserver);
          break;
        case METHODID_FILTER_TOOLS:
          serviceImpl.filterTools((pdp.v1.FilterToolsRequest) request,
              (io.grpc.stub.StreamObserver<pdp.v1.FilterToolsResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getAuthorizeMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.AuthorizeRequest,
              pdp.v1.AuthorizeResponse>(
                service, METHODID_AUTHORIZE)))
        .addMethod(
          getAuthorizeBatchMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.AuthorizeBatchRequest,
              pdp.v1.AuthorizeBatchResponse>(
                service, METHODID_AUTHORIZE_BATCH)))
        .addMethod(
          getInterceptMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.InterceptRequest,
              pdp.v1.InterceptResponse>(
                service, METHODID_INTERCEPT)))
        .addMethod(
          getDecideMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.DecideRequest,
              pdp.v1.DecideResponse>(
                service, METHODID_DECIDE)))
        .addMethod(
          getFilterToolsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              pdp.v1.FilterToolsRequest,
              pdp.v1.FilterToolsResponse>(
                service, METHODID_FILTER_TOOLS)))
        .build();
  }

  private static abstract class DecisionServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    DecisionServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return pdp.v1.DecisionServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("DecisionService");
    }
  }

  private static final class DecisionServiceFileDescriptorSupplier
      extends DecisionServiceBaseDescriptorSupplier {
    DecisionServiceFileDescriptorSupplier() {}
  }

  private static final class DecisionServiceMethodDescriptorSupplier
      extends DecisionServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    DecisionServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (DecisionServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new DecisionServiceFileDescriptorSupplier())
              .addMethod(getAuthorizeMethod())
              .addMethod(getAuthorizeBatchMethod())
              .addMethod(getInterceptMethod())
              .addMethod(getDecideMethod())
              .addMethod(getFilterToolsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
